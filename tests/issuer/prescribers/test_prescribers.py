"""Prescribers from a file: taken in, updated, refused line by line."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.issuer.office import Office, places, problem

PATH = "/v1/prescribers/imports"
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


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


BAD = places("c", code_postal="4700").splitlines(keepends=True)[1]


@pytest.mark.parametrize("content", [places("a", "b"), places("b", "c", nom="Mairie") + BAD, places("a") + BAD * 2])
@pytest.mark.parametrize("mode", ["best-effort", "all-or-nothing"])
def test_a_trial_tells_exactly_what_the_real_thing_then_does(office: Office, content: bytes, mode: str) -> None:
    office.made(office.post(PATH, places("a", "b")), 200)
    trial = office.post(f"{PATH}?mode={mode}&dry_run=true", content, key="same")
    real = office.post(f"{PATH}?mode={mode}", content, key="same")
    assert (trial.status_code, trial.data) == (real.status_code, real.data)


def test_a_trial_leaves_nothing_not_even_the_memory_of_the_file_or_of_the_key(office: Office) -> None:
    content = places("a", "b")
    for _time in range(2):
        report = office.made(office.post(f"{PATH}?dry_run=true", content, key="same"), 200)
        assert (counts(report), report["already_imported_at"]) == ((2, 0, 0, 0), None)
    assert office.made(office.get("/v1/prescribers"), 200)["items"] == []
    with office.service.runtime.transaction() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM idempotent_answer").scalar_one() == 0


def test_one_bad_line_keeps_the_whole_file_out_and_every_bad_line_is_told(office: Office) -> None:
    answer = office.post(f"{PATH}?mode=all-or-nothing", places("a") + BAD * 2)
    assert problem(answer) == (422, "nothing-taken")
    assert [note["line"] for note in answer.get_json()["report"]["refusals"]] == [3, 4]
    assert counts(answer.get_json()["report"]) == (0, 0, 0, 2)
    assert office.made(office.get("/v1/prescribers"), 200)["items"] == []
    mended = office.made(office.post(f"{PATH}?mode=all-or-nothing", places("a")), 200)
    assert (counts(mended), mended["already_imported_at"]) == ((1, 0, 0, 0), None)


@pytest.mark.parametrize("terms", ["dry-run=true", "dry_run=perhaps", "mode=some"])
def test_a_slip_in_the_terms_imports_nothing(office: Office, terms: str) -> None:
    assert problem(office.post(f"{PATH}?{terms}", places("a"))) == (422, "invalid")
    assert office.made(office.get("/v1/prescribers"), 200)["items"] == []


def test_of_one_file_sent_twice_at_once_one_is_told_that_it_came_before(office: Office) -> None:
    content = places(*(f"place-{number}" for number in range(300)))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: office.post(PATH, content), range(2)))
    reports = sorted((office.made(answer, 200) for answer in answers), key=lambda report: int(report["unchanged"]))
    assert [counts(report) for report in reports] == [(300, 0, 0, 0), (0, 0, 300, 0)]
    assert [report["already_imported_at"] is not None for report in reports] == [False, True]


def test_a_file_too_large_is_refused_with_what_is_expected(office: Office) -> None:
    answer = office.post(PATH, b"x" * (16 * 1024 * 1024 + 1))
    assert problem(answer) == (413, "too-large")
    assert answer.get_json()["detail"] == "At most 16 MiB are taken at once. Send it in parts."


def test_a_changed_file_updates_by_the_sources_identifier(office: Office) -> None:
    office.made(office.post(PATH, places("a", "b")), 200)
    before = office.made(office.get("/v1/prescribers"), 200)["items"]
    changed = places("b", "c", nom="Maison France services")
    report = office.made(office.post(PATH, changed), 200)
    assert counts(report) == (1, 1, 0, 0)
    assert report["taken"] == [
        {"line": 2, "source_id": "b", "outcome": "changed", "columns": ["name"]},
        {"line": 3, "source_id": "c", "outcome": "added", "columns": []},
    ]
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
