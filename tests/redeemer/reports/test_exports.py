"""The redeemer's lists as files: who gets which, and the national file of structures."""

import csv
import io
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from tests.redeemer.conftest import PROGRAMME, Till, day
from tests.shared.places.test_exporter import national

DATA = Path(os.environ.get("SOUCHE_DATA", Path(__file__).parents[4] / "shared" / "data"))
NATIONAL = "/v1/structures/lieux-mediation-numerique.csv"
IMPORTS = "/v1/structures/imports"


def rows(answer: TestResponse, delimiter: str = ",") -> list[dict[str, str]]:
    """The lines of a file."""
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8"), answer.text
    return list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig")), delimiter=delimiter))


def spend(till: Till, structure: UUID | None = None) -> Any:
    """A cheque that is redeemed at a structure."""
    [cheque] = till.issue()
    answer = till.present([cheque.code], structure=structure)
    assert answer.status_code == 201, answer.text
    return answer.get_json()["redemptions"][0]


def test_a_redemptions_file_tells_of_each_where_when_and_how_far_it_is_settled(till: Till) -> None:
    redemption = spend(till)
    [row] = rows(till.get("/v1/redemptions/export.csv"))
    assert row["redemption_id"] == redemption["redemption_id"]
    assert (row["structure"], row["siret"], row["programme"]) == ("Campus s1", "82854918800021", PROGRAMME)
    assert (row["amount_cents"], row["state"], row["via"], row["paid_on"]) == ("1000", "due", "till", "")


def test_a_structure_gets_its_own_redemptions_and_finance_all(till: Till) -> None:
    other = till.affiliated("s2")
    mine, theirs = spend(till), spend(till, other)

    def seen(role: str, scope: UUID | None = None, query: str = "") -> list[str]:
        return [row["redemption_id"] for row in rows(till.get(f"/v1/redemptions/export.csv?{query}", role, scope))]

    assert seen("finance") == seen("admin") == [mine["redemption_id"], theirs["redemption_id"]]
    assert seen("structure", other) == [theirs["redemption_id"]]
    assert seen("structure", other, f"structure_id={till.structure}") == [theirs["redemption_id"]]
    assert seen("finance", query=f"structure_id={till.structure}") == [mine["redemption_id"]]


def test_a_redemptions_file_is_narrowed_by_programme_and_by_the_day_in_paris(till: Till) -> None:
    spend(till)
    paths = {f"from={day(0)}": 1, f"to={day(0)}": 1, f"to={day(-1)}": 0, f"from={day(1)}": 0, "programme=other": 0}
    assert {path: len(rows(till.get(f"/v1/redemptions/export.csv?{path}"))) for path in paths} == paths


@pytest.mark.parametrize("path", ["/v1/structures/export.csv", "/v1/affiliations/export.csv", NATIONAL])
def test_a_structure_gets_no_list_of_everybodys(till: Till, path: str) -> None:
    assert till.get(path, "structure", till.structure).status_code == 403


def test_files_of_structures_and_affiliations_tell_how_they_stand(till: Till) -> None:
    till.post(f"/v1/structures/{till.structure}/suspension", "admin", {"reason": "=inspection"})
    [structure] = rows(till.get("/v1/structures/export.csv?separator=%3B"), ";")
    [affiliation] = rows(till.get("/v1/affiliations/export.csv"))
    assert (structure["structure_id"], structure["suspension_reason"]) == (str(till.structure), "'=inspection")
    assert structure["suspended_at"]
    assert (affiliation["structure"], affiliation["operator"]) == ("Campus s1", "somebody")
    assert (affiliation["starts_on"], affiliation["ends_on"]) == (day(-50).isoformat(), "")


@pytest.mark.parametrize(
    "name",
    [
        "lieux-lot-et-garonne-2022.v0.csv",
        "lieux-la-poste-siret.v0.csv",
        "lieux-mediation-numerique.v1.example.csv",
    ],
)
def test_structures_that_were_taken_in_go_out_and_in_again_unchanged(till: Till, name: str) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not there")
    till.post(IMPORTS, "admin", (DATA / name).read_bytes())
    query = "SELECT * FROM structure ORDER BY id"
    before, content = till.rows(query), till.get(NATIONAL).data
    assert national(content) == []
    report = till.post(IMPORTS, "admin", content).get_json()
    assert (report["added"], report["changed"], report["refused"]) == (0, 0, 0), report["refusals"]
    assert report["unchanged"] == len(before) > 1
    assert till.rows(query) == before
    assert till.get(NATIONAL).data == content


@pytest.mark.parametrize(
    "path", ["/v1/redemptions/export.csv", "/v1/structures/export.csv", "/v1/affiliations/export.csv"]
)
def test_the_columns_are_those_that_are_documented(till: Till, path: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "public-money.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if f"`{path}`" in line]
    assert till.get(path).text.splitlines()[0].replace(",", ", ") == row.split("|")[3].strip()
