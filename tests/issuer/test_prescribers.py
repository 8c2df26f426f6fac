"""Prescribers from a file: taken in, updated, refused line by line."""

from pathlib import Path

import pytest

from tests.issuer.office import Office, places, problem

PATH = "/v1/prescribers/imports"
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def counts(report: dict[str, int]) -> tuple[int, int, int, int]:
    """Lines added, changed, unchanged and refused."""
    return report["added"], report["changed"], report["unchanged"], report["refused"]


def test_the_good_lines_go_in_and_the_bad_ones_are_named(office: Office) -> None:
    good, bad = places("a", "b"), places("c", code_postal="4700").splitlines(keepends=True)[1]
    report = office.made(office.post(PATH, good + bad), 200)
    assert counts(report) == (2, 0, 0, 1)
    assert report["refusals"] == [{"line": 4, "field": "code_postal", "reason": "not a postcode of 5 digits"}]
    assert {note["field"] for note in report["remarks"]} == {"pivot"}
    shown = office.made(office.get("/v1/prescribers"), 200)["items"]
    assert [place["source_id"] for place in shown] == ["a", "b"]


def test_the_same_file_twice_changes_nothing_and_is_noticed(office: Office) -> None:
    first = office.made(office.post(PATH, places("a", "b")), 200)
    again = office.made(office.post(PATH, places("a", "b")), 200)
    assert first["already_imported_at"] is None
    assert again["already_imported_at"] is not None
    assert counts(again) == (0, 0, 2, 0)


def test_a_changed_file_updates_by_the_sources_identifier(office: Office) -> None:
    office.made(office.post(PATH, places("a", "b")), 200)
    before = office.made(office.get("/v1/prescribers"), 200)["items"]
    changed = places("b", "c", nom="Maison France services")
    assert counts(office.made(office.post(PATH, changed), 200)) == (1, 1, 0, 0)
    after = office.made(office.get("/v1/prescribers"), 200)["items"]
    assert [place["name"] for place in after] == ["CCAS", "Maison France services", "Maison France services"]
    assert [place["prescriber_id"] for place in after[:2]] == [place["prescriber_id"] for place in before]


def test_several_places_may_have_one_siret(office: Office) -> None:
    report = office.made(office.post(PATH, places("a", "b", pivot="35600000000048")), 200)
    assert counts(report) == (2, 0, 0, 0)
    shown = office.made(office.get("/v1/prescribers"), 200)["items"]
    assert [place["siret"] for place in shown] == ["35600000000048"] * 2


@pytest.mark.parametrize("content", [b"", b"id;nom\n1;2\n", b"\xff\xfea\x00"])
def test_what_is_no_such_file_is_refused_whole(office: Office, content: bytes) -> None:
    assert problem(office.post(PATH, content)) == (422, "file-refused")


def test_the_list_of_prescribers_is_not_for_prescribers(office: Office) -> None:
    mine, other = office.prescriber, office.prescriber_named("other")
    assert problem(office.get("/v1/prescribers", "prescriber", mine)) == (403, "forbidden")
    assert office.made(office.get(f"/v1/prescribers/{mine}", "prescriber", mine), 200)["source_id"] == "ccas-agen"
    assert problem(office.get(f"/v1/prescribers/{other}", "prescriber", mine)) == (404, "not-found")
    assert problem(office.post(PATH, places("x"), "prescriber", mine)) == (403, "forbidden")


@pytest.mark.skipif(not DATA.is_dir(), reason="the reference files are not beside the project")
@pytest.mark.parametrize(
    ("name", "added", "refused"),
    [
        ("lieux-lot-et-garonne-2022.v0.csv", 40, 0),
        ("lieux-la-poste-siret.v0.csv", 15, 0),
        ("lieux-mediation-numerique.v1.example.csv", None, None),
    ],
)
def test_real_files_go_in(office: Office, name: str, added: int | None, refused: int | None) -> None:
    content = (DATA / name).read_bytes()
    report = office.made(office.post(PATH, content), 200)
    if added is not None:
        assert (report["added"], report["refused"]) == (added, refused), report["refusals"]
    again = office.made(office.post(PATH, content), 200)
    assert counts(again) == (0, 0, report["added"], report["refused"])
