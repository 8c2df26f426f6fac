"""Envelopes: which one pays, and what is said when none does."""

from typing import Any

import pytest

from tests.issuer.office import Office, problem, wrong_fields

TERMS = {
    "programme": "pass",
    "funder": "CAF",
    "convention_reference": "CAF-2026-3",
    "amount_cents": 100_000,
    "starts_on": "2026-01-01",
    "ends_on": "2026-12-31",
}


def paying(grant: Any) -> list[str]:
    """The envelopes that a grant is charged to, without repetition."""
    return list(dict.fromkeys(cheque["envelope_id"] for cheque in grant["cheques"]))


def test_an_envelope_shows_what_is_left_in_it(office: Office) -> None:
    made = office.made(office.post("/v1/envelopes", TERMS, "finance"))
    assert made == TERMS | {
        "envelope_id": made["envelope_id"],
        "engaged_cents": 0,
        "available_cents": 100_000,
        "target_publics": [],
        "priority": 0,
        "share_bp": None,
        "reserved_cents": 0,
        "convention_id": made["convention_id"],
        "closed_at": None,
    }
    office.grant(granted_on="2026-06-01")
    shown = office.made(office.get(f"/v1/envelopes/{made['envelope_id']}"), 200)
    assert (shown["engaged_cents"], shown["available_cents"]) == (5_000, 95_000)
    assert office.made(office.get("/v1/envelopes?programme=pass"), 200)["items"] == [shown]
    assert office.made(office.get("/v1/envelopes?programme=other"), 200)["items"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"programme": "unknown"}, "programme"),
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": -5}, "amount_cents"),
        ({"funder": " "}, "funder"),
        ({"ends_on": "2025-12-31"}, "ends_on"),
        ({"starts_on": None}, "starts_on"),
        ({"priority": "first"}, "priority"),
        ({"engaged_cents": 5}, "engaged_cents"),
        ({"target_publics": ["\x00"]}, "target_publics"),
    ],
)
def test_a_wrong_envelope_is_refused_naming_the_field(office: Office, change: dict[str, Any], field: str) -> None:
    answer = office.post("/v1/envelopes", TERMS | change)
    assert problem(answer) == (422, "invalid")
    assert wrong_fields(answer) == [field]


def test_the_lowest_priority_number_pays_first_then_the_older_envelope(office: Office) -> None:
    later = office.envelope(5_000, priority=2)
    older, younger = office.envelope(5_000, priority=1), office.envelope(5_000, priority=1)
    assert [paying(office.grant()) for _ in range(3)] == [[older], [younger], [later]]


def test_a_grant_is_shared_among_envelopes_and_each_cheque_is_charged_to_one(office: Office) -> None:
    first, second = office.envelope(3_500, priority=1), office.envelope(10_000, priority=2)
    grant = office.grant()
    assert [cheque["envelope_id"] for cheque in grant["cheques"]] == [first] * 3 + [second] * 2
    assert office.engaged() == [3_000, 2_000]


def test_an_envelope_pays_for_its_publics_only(office: Office) -> None:
    seniors = office.envelope(100_000, target_publics=["seniors", "retraités"], priority=1)
    everybody = office.envelope(100_000, priority=2)
    assert paying(office.grant(target_public="retraités")) == [seniors]
    assert paying(office.grant(target_public="jeunes")) == [everybody]
    assert paying(office.grant()) == [everybody]


def test_an_envelope_pays_in_its_period_only_both_days_included(office: Office) -> None:
    old = office.envelope(100_000, starts_on="2025-01-01", ends_on="2025-12-31", priority=2)
    new = office.envelope(100_000, starts_on="2025-12-31", ends_on="2026-06-30", priority=1)
    assert paying(office.grant(granted_on="2025-12-30")) == [old]
    assert paying(office.grant(granted_on="2025-12-31")) == [new]
    assert paying(office.grant(granted_on="2026-06-30")) == [new]
    assert problem(office.ask(granted_on="2026-07-01")) == (409, "no-envelope")


def test_an_envelope_pays_for_its_programme_only(office: Office) -> None:
    office.programme("other")
    office.envelope(100_000, "other")
    assert problem(office.ask()) == (409, "no-envelope")


def test_a_grant_beyond_what_is_left_is_refused_saying_how_much_that_is(office: Office) -> None:
    office.envelope(6_500)
    office.envelope(3_500)
    answer = office.ask(amount_cents=10_000)
    assert problem(answer) == (409, "envelope-exhausted")
    assert answer.json is not None
    assert (answer.json["wanted_cents"], answer.json["available_cents"]) == (10_000, 10_000)
    assert office.engaged() == [0, 0]
    assert len(office.grant(amount_cents=9_000)["cheques"]) == 9
    assert office.engaged() == [6_000, 3_000]
