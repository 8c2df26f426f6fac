"""Conventions and their envelopes: what they bind, what is written down, and when the département is warned."""

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tests.issuer.office import Office, expired, ids, problem, wrong_fields

TERMS = {
    "funder": "CARSAT",
    "reference": "CARSAT-2026-118",
    "amount_cents": 100_000,
    "starts_on": "2026-01-01",
    "ends_on": "2026-12-31",
}


def move(office: Office, envelope: str, amount_cents: int, reason: str = "Avenant.") -> Any:
    """The answer to raising or lowering an envelope."""
    return office.post(
        f"/v1/envelopes/{envelope}/movements", {"amount_cents": amount_cents, "reason": reason}, "finance"
    )


def close(office: Office, envelope: str) -> Any:
    """The answer to closing an envelope."""
    return office.post(f"/v1/envelopes/{envelope}/closing", {"reason": "Fin de convention."}, "finance")


def shown(office: Office, envelope: str) -> Any:
    """An envelope."""
    return office.made(office.get(f"/v1/envelopes/{envelope}"), 200)


def warnings(office: Office) -> list[tuple[int, int]]:
    """The percentages that were told of, and of which amount."""
    notices = [notice["body"] for notice in office.events("notice.posted") if notice["kind"] == "envelope.filling"]
    return [(body["percent"], body["amount_cents"]) for body in notices]


def payers(office: Office, grant: Any) -> list[tuple[str, int]]:
    """The envelopes that a grant is charged to, and how many cheques each pays."""
    shown = office.made(office.get(f"/v1/grants/{grant['grant_id']}"), 200)
    return [(charge["envelope_id"], charge["number"]) for charge in shown["charges"]]


def test_a_convention_is_shown_with_its_terms(office: Office) -> None:
    extras = {
        "target_publics": ["retraite", "aidant"],
        "territory": ["47"],
        "pays_at_most_bp": 6500,
        "reserved_publics": ["aidant"],
        "reserved_bp": 2000,
    }
    made = office.made(office.post("/v1/conventions", TERMS | extras, "finance"))
    assert made == TERMS | extras | {"convention_id": made["convention_id"]}
    assert office.made(office.get(f"/v1/conventions/{made['convention_id']}"), 200) == made
    assert office.made(office.get("/v1/conventions?funder=CARSAT"), 200)["items"] == [made]
    assert office.made(office.get("/v1/conventions?funder=CAF"), 200)["items"] == []
    assert problem(office.post("/v1/conventions", TERMS)) == (409, "convention-exists")
    assert problem(office.get(f"/v1/conventions/{uuid4()}")) == (404, "not-found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_cents": 0}, "amount_cents"),
        ({"ends_on": "2025-12-31"}, "ends_on"),
        ({"territory": ["Agen"]}, "territory"),
        ({"pays_at_most_bp": 0}, "pays_at_most_bp"),
        ({"pays_at_most_bp": 10_001}, "pays_at_most_bp"),
        ({"reserved_bp": 10}, "reserved_bp"),
        ({"reserved_publics": ["jeunes"]}, "reserved_bp"),
        (
            {"target_publics": ["seniors"], "reserved_publics": ["jeunes"], "reserved_bp": 1},
            "reserved_publics",
        ),
    ],
)
def test_a_wrong_convention_is_refused_naming_the_field(office: Office, change: dict[str, Any], field: str) -> None:
    answer = office.post("/v1/conventions", TERMS | change)
    assert problem(answer) == (422, "invalid")
    assert wrong_fields(answer) == [field]


def test_an_envelope_has_of_its_convention_what_it_does_not_say_itself(office: Office) -> None:
    convention = office.convention(target_publics=["seniors"], reserved_publics=["seniors"], reserved_bp=3333)
    envelope = shown(office, office.under(convention, 10_001))
    assert {name: envelope[name] for name in ("funder", "convention_reference", "starts_on", "target_publics")} == {
        "funder": "CAF",
        "convention_reference": "CAF-2026-3",
        "starts_on": "2020-01-01",
        "target_publics": ["seniors"],
    }
    assert envelope["reserved_cents"] == 3_334


def test_a_convention_may_have_envelopes_in_several_programmes_up_to_its_amount(office: Office) -> None:
    office.programme("other")
    convention = office.convention()
    office.under(convention, 60_000)
    second = office.under(convention, 30_000, "other")
    beyond = {"programme": "pass", "convention_id": convention, "amount_cents": 10_001}
    answer = office.post("/v1/envelopes", beyond)
    assert problem(answer) == (409, "convention-exceeded")
    assert answer.json is not None
    assert answer.json["available_cents"] == 10_000
    assert problem(move(office, second, 40_001)) == (409, "convention-exceeded")
    office.made(move(office, second, 40_000))
    found = office.made(office.get(f"/v1/envelopes?convention_id={convention}&programme=other"), 200)["items"]
    assert [item["envelope_id"] for item in found] == [second]


def test_an_envelope_named_by_funder_and_reference_comes_under_that_convention(office: Office) -> None:
    convention = office.convention("CAF-7")
    under = office.envelope(5_000, funder="CAF", convention_reference="CAF-7")
    assert shown(office, under)["convention_id"] == convention
    first, second = office.envelope(5_000), office.envelope(5_000)
    assert shown(office, first)["convention_id"] == shown(office, second)["convention_id"] != convention


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"starts_on": "2019-12-31"}, "starts_on"),
        ({"ends_on": "2100-01-02"}, "ends_on"),
        ({"target_publics": ["agricole"]}, "target_publics"),
        ({"target_publics": ["famille"]}, "target_publics"),
        ({"funder": "CAF"}, "convention_id"),
        ({"share_bp": 0}, "share_bp"),
    ],
)
def test_an_envelope_keeps_to_its_convention(office: Office, change: dict[str, Any], field: str) -> None:
    convention = office.convention(target_publics=["famille", "jeunes"], reserved_publics=["jeunes"], reserved_bp=5000)
    terms = {"programme": "pass", "convention_id": convention, "amount_cents": 5_000}
    answer = office.post("/v1/envelopes", terms | change)
    assert problem(answer) == (422, "invalid")
    assert wrong_fields(answer) == [field]


def test_an_envelope_needs_a_convention_that_there_is_or_a_name_for_one(office: Office) -> None:
    terms = {"programme": "pass", "amount_cents": 5_000}
    assert wrong_fields(office.post("/v1/envelopes", terms)) == ["funder"]
    assert wrong_fields(office.post("/v1/envelopes", terms | {"funder": "CAF"})) == ["convention_reference"]
    named = terms | {"funder": "CAF", "convention_reference": "new"}
    assert wrong_fields(office.post("/v1/envelopes", named)) == ["starts_on", "ends_on"]
    unknown = terms | {"convention_id": str(uuid4())}
    assert problem(office.post("/v1/envelopes", unknown)) == (404, "not-found")


def test_a_grant_is_charged_where_its_prescriber_is(office: Office) -> None:
    here = office.under(office.convention("here", territory=["46", "47"]), 100_000)
    elsewhere = office.under(office.convention("there", territory=["33"]), 100_000)
    assert payers(office, office.grant()) == [(here, 5)]
    office.made(office.post("/v1/prescribers/imports", _places("33000")), 200)
    assert payers(office, office.grant()) == [(elsewhere, 5)]


def _places(postcode: str) -> bytes:
    heads = "id,pivot,nom,commune,code_postal,adresse,typologie,date_maj"
    return f"{heads}\nccas-agen,00000000000000,CCAS,Bordeaux,{postcode},1 rue,CCAS,2026-02-01\n".encode()


def test_shares_are_kept_from_one_grant_to_the_next_and_said_in_the_reason(office: Office) -> None:
    large = office.under(office.convention("large"), 100_000, share_bp=6000)
    small = office.under(office.convention("small"), 100_000, share_bp=4000)
    grants = [office.grant() for _ in range(4)]
    assert office.engaged() == [12_000, 8_000]
    assert payers(office, grants[0]) == [(large, 3), (small, 2)]
    grant = office.made(office.get(f"/v1/grants/{grants[0]['grant_id']}"), 200)
    whys = {charge["envelope_id"]: charge["why"] for charge in grant["charges"]}
    assert whys[large] == "Priority 0, furthest below its share of 60 %."
    assert [cheque["why"] for cheque in grant["cheques"]] == [
        whys[cheque["envelope_id"]] for cheque in grant["cheques"]
    ]
    assert [(charge["funder"], charge["number"], charge["cents"]) for charge in grant["charges"]] == [
        ("CAF", 3, 3_000),
        ("CAF", 2, 2_000),
    ]


def test_what_is_kept_for_a_public_is_refused_to_others_and_comes_back_to_it(office: Office) -> None:
    office.under(office.convention(reserved_publics=["seniors"], reserved_bp=5000), 10_000)
    office.grant(target_public="jeunes")
    assert problem(office.ask(target_public="jeunes")) == (409, "envelope-exhausted")
    grant = office.grant(target_public="seniors")
    assert problem(office.ask()) == (409, "envelope-exhausted")
    office.tell(expired(ids(grant)))
    assert problem(office.ask(target_public="jeunes")) == (409, "envelope-exhausted")
    office.grant(target_public="seniors")


def test_raising_lowering_and_closing_are_written_down_with_who_and_why(office: Office) -> None:
    envelope = office.envelope(50_000)
    office.grant()
    assert office.made(move(office, envelope, 60_000))["kind"] == "raised"
    office.made(move(office, envelope, 5_000, "Réduction."))
    office.made(close(office, envelope))
    found = office.made(office.get(f"/v1/envelopes/{envelope}/movements"), 200)["items"]
    assert [(item["kind"], item["before_cents"], item["after_cents"], item["reason"]) for item in found] == [
        ("opened", 0, 50_000, "Opened."),
        ("raised", 50_000, 60_000, "Avenant."),
        ("lowered", 60_000, 5_000, "Réduction."),
        ("closed", 5_000, 5_000, "Fin de convention."),
    ]
    assert [item["made_by"] for item in found[1:]] == ["finance:-:test"] * 3
    assert problem(office.get(f"/v1/envelopes/{uuid4()}/movements")) == (404, "not-found")


def test_an_envelope_is_never_lowered_under_what_is_engaged(office: Office) -> None:
    envelope = office.envelope(50_000)
    office.grant()
    answer = move(office, envelope, 4_999)
    assert problem(answer) == (409, "amount-engaged")
    assert answer.json["engaged_cents"] == 5_000
    assert problem(move(office, envelope, 50_000)) == (409, "amount-unchanged")
    assert shown(office, envelope)["amount_cents"] == 50_000


def test_an_envelope_is_not_lowered_to_where_other_publics_would_have_what_is_kept(office: Office) -> None:
    envelope = office.under(office.convention(reserved_publics=["seniors"], reserved_bp=5000), 20_000)
    office.grant(target_public="jeunes", amount_cents=6_000)
    assert problem(move(office, envelope, 11_000)) == (409, "amount-engaged")
    office.made(move(office, envelope, 12_000))
    assert shown(office, envelope)["reserved_cents"] == 6_000


def test_a_closed_envelope_takes_no_cheque_even_with_money_that_came_back(office: Office) -> None:
    convention = office.convention()
    first, second = office.under(convention, 60_000, priority=1), office.under(convention, 40_000, priority=2)
    grant = office.grant()
    office.made(close(office, first))
    assert shown(office, first)["amount_cents"] == 5_000
    office.tell(expired(ids(grant)))
    assert shown(office, first)["available_cents"] == 5_000
    assert payers(office, office.grant()) == [(second, 5)]
    assert problem(close(office, first)) == (409, "envelope-closed")
    assert problem(move(office, first, 10_000)) == (409, "envelope-closed")
    office.made(move(office, second, 95_000))  # what the first one did not need is the convention's again


def test_an_envelope_closed_before_anything_was_engaged_is_of_nothing(office: Office) -> None:
    envelope = office.envelope(50_000)
    office.made(close(office, envelope))
    assert shown(office, envelope)["amount_cents"] == 0
    assert problem(office.ask()) == (409, "no-envelope")


def test_the_departement_is_warned_once_at_80_90_and_100_percent(office: Office) -> None:
    envelope = office.envelope(20_000)
    office.grant(amount_cents=15_000)
    assert warnings(office) == []
    last = office.grant()
    assert warnings(office) == [(80, 20_000), (90, 20_000), (100, 20_000)]
    office.tell(expired(ids(last)))
    office.grant()
    assert len(warnings(office)) == 3
    office.made(move(office, envelope, 40_000))
    office.grant(amount_cents=12_000)
    assert warnings(office)[3:] == [(80, 40_000)]


def test_lowering_an_envelope_warns_too(office: Office) -> None:
    envelope = office.envelope(20_000)
    office.grant(amount_cents=8_000)
    office.made(move(office, envelope, 9_000))
    assert warnings(office) == [(80, 9_000)]


def amend(office: Office, convention: str, **terms: Any) -> Any:
    """The answer to amending a convention."""
    return office.post(f"/v1/conventions/{convention}/amendments", {"reason": "Avenant 1."} | terms, "finance")


def test_an_amendment_gives_a_convention_more_money_and_more_time_and_is_kept(office: Office) -> None:
    convention = office.convention(starts_on="2020-01-01", ends_on="2020-12-31")
    follows = office.under(convention, 60_000, priority=1)
    shorter = office.under(convention, 40_000, ends_on="2020-06-30")
    assert problem(office.ask()) == (409, "no-envelope")
    assert office.made(amend(office, convention, amount_cents=150_000, ends_on="2100-12-31"))["ends_on"] == "2100-12-31"
    office.made(move(office, follows, 110_000))
    assert payers(office, office.grant()) == [(follows, 5)]
    assert shown(office, shorter)["ends_on"] == "2020-06-30"
    kept = office.made(office.get(f"/v1/conventions/{convention}/amendments"), 200)["items"]
    assert [(item["amount_cents"], item["ends_on"], item["reason"]) for item in kept] == [
        (100_000, "2020-12-31", "Agreed."),
        (150_000, "2100-12-31", "Avenant 1."),
    ]
    office.made(amend(office, convention, ends_on="2020-05-31"))
    assert [shown(office, item)["ends_on"] for item in (follows, shorter)] == ["2020-05-31"] * 2


def test_an_amendment_that_does_not_go_with_the_envelopes_is_refused(office: Office) -> None:
    convention = office.convention()
    envelope = office.under(convention, 60_000, starts_on="2021-01-01")
    assert problem(amend(office, convention, amount_cents=59_999)) == (409, "amount-held")
    assert problem(amend(office, convention, ends_on="2020-12-31")) == (409, "envelope-later")
    assert wrong_fields(amend(office, convention, ends_on="2019-12-31")) == ["ends_on"]
    assert wrong_fields(amend(office, convention)) == ["amount_cents"]
    assert problem(amend(office, str(uuid4()), amount_cents=5)) == (404, "not-found")
    assert shown(office, envelope)["ends_on"] == "2100-01-01"
    office.made(amend(office, convention, amount_cents=60_000))


@pytest.mark.parametrize("table", ["convention_amendment", "envelope_movement", "journal_entry"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET id = DEFAULT"])
def test_what_was_written_down_cannot_be_rewritten(office: Office, table: str, change: str) -> None:
    office.envelope(20_000)
    office.grant()
    with office.service.runtime.transaction() as session, pytest.raises(DBAPIError, match="append-only"):
        session.execute(sa.text(change.format(table)))
