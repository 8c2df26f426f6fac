"""The issuer's lists as files: who gets which, and what is never in them."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from shared.values import clock
from tests.issuer.office import ALICE, Office, ids, places, problem, redeemed

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
NATIONAL = "/v1/prescribers/lieux-mediation-numerique.csv"


def rows(answer: TestResponse, delimiter: str = ",") -> list[dict[str, str]]:
    """The lines of a file."""
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8"), answer.text
    return list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig")), delimiter=delimiter))


def test_a_grants_file_tells_how_much_of_each_is_spent(office: Office) -> None:
    office.envelope(1_000_000)
    grant = office.grant(beneficiary=ALICE, target_public="seniors")
    office.tell(redeemed(ids(grant)[:2]))
    [row] = rows(office.get("/v1/grants/export.csv"))
    assert row["grant_id"] == grant["grant_id"]
    assert (row["prescriber"], row["programme"], row["target_public"]) == ("CCAS", "pass", "seniors")
    assert row["granted_on"] == clock.today().isoformat()
    told = {name: row[name] for name in ("amount_cents", "cheques", "redeemed_cents", "open_cents", "expired_cents")}
    assert told == {
        "amount_cents": "5000",
        "cheques": "5",
        "redeemed_cents": "2000",
        "open_cents": "3000",
        "expired_cents": "0",
    }


def test_a_prescriber_gets_its_own_grants_and_finance_all(office: Office) -> None:
    office.envelope(1_000_000)
    other = office.prescriber_named("other")
    mine, theirs = office.grant(), office.grant(scope=other)

    def seen(role: str, scope: UUID | None = None) -> list[str]:
        return [row["grant_id"] for row in rows(office.get("/v1/grants/export.csv", role, scope))]

    assert seen("finance") == seen("admin") == [mine["grant_id"], theirs["grant_id"]]
    assert seen("prescriber", other) == [theirs["grant_id"]]
    assert seen("prescriber", office.prescriber) == [mine["grant_id"]]


@pytest.mark.parametrize("path", ["/v1/cheques/export.csv", "/v1/envelopes/export.csv", NATIONAL])
def test_a_prescriber_gets_no_list_of_everybodys(office: Office, path: str) -> None:
    assert problem(office.get(path, "prescriber", office.prescriber)) == (403, "forbidden")


def test_no_file_has_a_code_a_name_or_the_reason_of_a_grant(office: Office) -> None:
    office.envelope(1_000_000)
    grant = office.grant(beneficiary=ALICE, reason="Sa voisine Aliénor la garde.")
    secrets = [*ALICE.values(), "voisine", *(cheque["code"] for cheque in grant["cheques"])]
    for path in ("/v1/grants/export.csv", "/v1/cheques/export.csv", "/v1/envelopes/export.csv"):
        content = office.get(path).text
        assert not [secret for secret in secrets if secret in content], path


def test_a_cheques_file_tells_whose_money_each_is_and_how_it_stands(office: Office) -> None:
    envelope = office.envelope(1_000_000, funder="=CAF")
    grant = office.grant()
    office.tell(redeemed(ids(grant)[:1]))
    found = rows(office.get("/v1/cheques/export.csv?programme=pass"))
    assert [row["cheque_id"] for row in found] == ids(grant)
    assert sorted(row["state"] for row in found) == ["redeemed", *["spendable"] * 4]
    assert {(row["envelope_id"], row["funder"], row["value_cents"]) for row in found} == {(envelope, "'=CAF", "1000")}
    assert rows(office.get("/v1/cheques/export.csv?programme=other")) == []


def test_a_file_is_narrowed_by_programme_and_by_the_day_of_the_grant(office: Office) -> None:
    office.programme("other")
    office.envelope(1_000_000)
    office.envelope(1_000_000, "other")
    old = office.grant(granted_on="2026-01-02")
    new, other = office.grant(), office.grant(programme="other")

    def seen(query: str) -> list[str]:
        return [row["grant_id"] for row in rows(office.get(f"/v1/grants/export.csv?{query}"))]

    assert seen("programme=other") == [other["grant_id"]]
    assert seen("to=2026-01-02") == [old["grant_id"]]
    assert seen("from=2026-01-03&programme=pass") == [new["grant_id"]]
    assert problem(office.get("/v1/grants/export.csv?from=yesterday")) == (422, "invalid")


def test_a_file_for_a_french_spreadsheet_has_semicolons(office: Office) -> None:
    office.envelope(1_000_000, funder="Département; fonds")
    answer = office.get("/v1/envelopes/export.csv?separator=%3B")
    assert answer.data.startswith(b"\xef\xbb\xbfenvelope_id;")
    [row] = rows(answer, ";")
    assert (row["funder"], row["available_cents"]) == ("Département; fonds", "1000000")
    assert 'filename="envelopes.csv"' in answer.headers["Content-Disposition"]
    assert problem(office.get("/v1/envelopes/export.csv?separator=x")) == (422, "invalid")


def everything(office: Office) -> list[Mapping[str, Any]]:
    """All prescribers as they are shown."""
    found: list[Mapping[str, Any]] = office.made(office.get("/v1/prescribers?limit=500"), 200)["items"]
    return found


@pytest.mark.skipif(not DATA.is_dir(), reason="the reference files are not beside the project")
@pytest.mark.parametrize("name", ["lieux-lot-et-garonne-2022.v0.csv", "lieux-mediation-numerique.v1.example.csv"])
def test_prescribers_that_were_taken_in_go_out_and_in_again_unchanged(office: Office, name: str) -> None:
    office.made(office.post("/v1/prescribers/imports", (DATA / name).read_bytes()), 200)
    before = everything(office)
    content = office.get(NATIONAL).data
    report = office.made(office.post("/v1/prescribers/imports", content), 200)
    assert (report["added"], report["changed"], report["refused"]) == (0, 0, 0)
    assert report["unchanged"] == len(before) > 0
    assert json.dumps(everything(office)) == json.dumps(before)
    assert office.get(NATIONAL).data == content


def test_a_prescribers_telephone_and_services_are_kept_for_the_export(office: Office) -> None:
    service = "Aide aux démarches administratives"
    office.post("/v1/prescribers/imports", places("a", telephone="05 53 69 00 00", services=service))
    [row] = rows(office.get(NATIONAL))
    assert (row["telephone"], row["services"], row["pivot"]) == ("+33553690000", service, "0" * 14)
    assert everything(office)[0]["details"] == {"telephone": "+33553690000", "services": service}


@pytest.mark.parametrize("path", ["/v1/grants/export.csv", "/v1/cheques/export.csv", "/v1/envelopes/export.csv"])
def test_the_columns_are_those_that_are_documented(office: Office, path: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "public-money.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if f"`{path}`" in line]
    assert office.get(path).text.splitlines()[0].replace(",", ", ") == row.split("|")[3].strip()
