"""Structures from a file, their affiliations, and their suspension."""

import os
from pathlib import Path

import pytest

from shared.values.ids import new_id
from tests.redeemer.conftest import COLUMNS, Till, day

DATA = Path(os.environ.get("SOUCHE_DATA", Path(__file__).parents[4] / "shared" / "data"))
GOOD = "a,82854918800021,Campus,Agen,47000,47001,1 rue du Pont,2026-01-05"


def import_lines(till: Till, *lines: str) -> dict[str, object]:
    answer = till.post("/v1/structures/imports", "admin", "\n".join([COLUMNS, *lines]).encode())
    assert answer.status_code == 200, answer.text
    report: dict[str, object] = answer.get_json()
    return report


def counts(report: dict[str, object]) -> list[object]:
    return [report[name] for name in ("added", "changed", "unchanged", "refused")]


def test_the_good_lines_go_in_and_the_bad_ones_are_reported(till: Till) -> None:
    report = import_lines(
        till,
        GOOD,
        "b,12345678901234,Bad,Agen,47000,47001,1 rue,2026-01-05",
        "c,00000000000000,No number,Agen,47000,,1 rue,2026-01-05",
    )

    assert counts(report) == [2, 0, 0, 1]
    assert [(note["line"], note["field"]) for note in report["refusals"]] == [(3, "pivot")]  # type: ignore[attr-defined]
    assert [note["line"] for note in report["remarks"]] == [4]  # type: ignore[attr-defined]
    assert till.rows("SELECT siret FROM structure WHERE source_id = 'c'")[0].siret is None


def test_the_same_file_twice_is_noticed(till: Till) -> None:
    first, second = import_lines(till, GOOD), import_lines(till, GOOD)

    assert first["already_imported_at"] is None
    assert second["already_imported_at"] is not None
    assert counts(second) == [0, 0, 1, 0]


def test_a_trial_of_a_file_tells_the_same_and_leaves_nothing(till: Till) -> None:
    content = "\n".join([COLUMNS, GOOD, "b,1,Bad"]).encode()
    before = till.rows("SELECT * FROM structure")
    trial = till.post("/v1/structures/imports?dry_run=true", "admin", content)
    assert till.rows("SELECT * FROM structure") == before
    assert till.post("/v1/structures/imports", "admin", content).data == trial.data


def test_one_bad_line_keeps_all_structures_out_where_all_or_nothing_is_asked(till: Till) -> None:
    content = "\n".join([COLUMNS, GOOD, "b,1,Bad"]).encode()
    answer = till.post("/v1/structures/imports?mode=all-or-nothing", "admin", content)
    assert (answer.status_code, answer.get_json()["type"]) == (422, "urn:souche:nothing-taken")
    assert [note["line"] for note in answer.get_json()["report"]["refusals"]] == [3]
    assert till.rows("SELECT FROM structure WHERE source_id = 'a'") == []


def test_a_file_that_changed_brings_structures_up_to_date(till: Till) -> None:
    import_lines(till, GOOD)
    before = till.rows("SELECT id FROM structure WHERE source_id = 'a'")

    assert counts(import_lines(till, GOOD.replace("Campus", "Nouveau campus"))) == [0, 1, 0, 0]
    assert till.rows("SELECT id FROM structure WHERE source_id = 'a' AND name = 'Nouveau campus'") == before


def test_a_file_that_is_none_is_refused(till: Till) -> None:
    answer = till.post("/v1/structures/imports", "admin", b"nom;adresse\nCampus;1 rue\n")
    assert (answer.status_code, answer.get_json()["type"]) == (422, "urn:souche:file-refused")


@pytest.mark.parametrize("name", ["lieux-lot-et-garonne-2022.v0.csv", "lieux-la-poste-siret.v0.csv"])
def test_a_real_file_goes_in(till: Till, name: str) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not there")
    answer = till.post("/v1/structures/imports", "admin", (DATA / name).read_bytes())
    report = answer.get_json()

    assert report["added"] > 0
    assert report["added"] + 1 == len(till.rows("SELECT FROM structure"))
    again = till.post("/v1/structures/imports", "admin", (DATA / name).read_bytes()).get_json()
    assert again["unchanged"] == report["added"]


def test_an_affiliation_is_told(till: Till) -> None:
    [told] = till.told("structure.affiliated")

    assert (told["structure_id"], told["contract_id"]) == (till.structure, till.contract)
    assert (told["siret"], told["name"]) == ("82854918800021", "Campus s1")
    assert (told["starts_on"], told["ends_on"]) == (day(-50), None)


@pytest.mark.parametrize(
    ("starts", "ends", "status"),
    [(-20, None, 409), (-30, -21, 201), (-30, -20, 409), (-10, 5, 409), (-9, 5, 201), (-15, -12, 409)],
)
def test_periods_of_one_contract_do_not_overlap(till: Till, starts: int, ends: int | None, status: int) -> None:
    structure = till.add_structure("s2")
    till.affiliate(structure, till.contract, day(-20), day(-10))

    answer = till.affiliate(structure, till.contract, day(starts), None if ends is None else day(ends))
    assert answer.status_code == status


def test_an_affiliation_of_nobody_to_nothing_is_refused(till: Till) -> None:
    nothing = till.affiliate(new_id(), new_id(), day(0))
    backwards = till.affiliate(till.add_structure("s2"), till.contract, day(0), day(-1))

    assert (nothing.status_code, set(nothing.get_json()["errors"])) == (422, {"structure_id", "contract_id"})
    assert (backwards.status_code, set(backwards.get_json()["errors"])) == (422, {"ends_on"})


def test_the_team_sees_affiliations(till: Till) -> None:
    till.affiliated("s2")
    all_of_them = till.get("/v1/affiliations").get_json()["items"]
    [own] = till.get(f"/v1/affiliations?structure_id={till.structure}").get_json()["items"]

    assert len(all_of_them) == 2
    assert own["contract_id"] == str(till.contract)


def test_a_suspension_is_told_once_and_its_end_tells_of_the_affiliations_again(till: Till) -> None:
    path = f"/v1/structures/{till.structure}/suspension"
    first, second = till.post(path, "admin", {"reason": "inspection"}), till.post(path, "admin", {"reason": "again"})
    assert first.data == second.data
    assert till.told("structure.suspended") == [{"structure_id": till.structure, "reason": "inspection"}]

    lifted = till.redeemer.client.delete(path, headers=till.redeemer.headers("admin"))

    assert lifted.get_json()["suspended_at"] is None
    assert len(till.told("structure.affiliated")) == 2
