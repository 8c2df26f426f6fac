"""The mirror: what other services tell of cheques, in whatever order, and the money that comes back."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.inbox import HANDLERS
from shared.eventlog.consumer import PAGE_END, run_handlers
from shared.eventlog.event_kinds import KINDS
from shared.eventlog.log import Event
from tests.issuer.office import (
    Office,
    cancellation_refused,
    cancelled,
    expired,
    ids,
    news,
    problem,
    redeemed,
    registered,
    reversed_,
)


@pytest.fixture
def waiting(empty_office: Office) -> Office:
    """An office whose cheques are spendable when an operator has registered them, and 1 000 € in two envelopes."""
    empty_office.programme(spendable="on_registration")
    empty_office.envelope(2_500, priority=1)
    empty_office.envelope(97_500, priority=2)
    return empty_office


def request(office: Office, role: str = "admin", scope: Any = None, **what: Any) -> Any:
    """A cancellation that is asked for."""
    return office.made(office.post("/v1/cancellations", {"reason": "Perdu."} | what, role, scope), 202)


def outcomes(office: Office, cancellation: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """What came of a cancellation so far, cheque by cheque."""
    shown = office.made(office.get(f"/v1/cancellations/{cancellation['cancellation_id']}"), 200)
    return [(cheque["outcome"], cheque["reason"]) for cheque in shown["cheques"]]


def test_a_cheque_that_waits_for_registration_is_spendable_after_it(waiting: Office) -> None:
    grant = waiting.grant()
    assert waiting.states(grant) == ["issued"] * 5
    waiting.tell(registered(ids(grant)[:2]), registered(ids(grant)[1:3]))
    assert waiting.states(grant) == ["spendable"] * 3 + ["issued"] * 2


def test_the_bridge_and_the_redeemer_may_be_heard_in_any_order(waiting: Office) -> None:
    for order in itertools.permutations(range(3)):
        grant = waiting.grant()
        first, second, *_ = ids(grant)
        told = [registered([first, second]), redeemed([first]), expired([second])]
        for number in order:
            waiting.tell(told[number])
        assert waiting.states(grant)[:2] == ["redeemed", "expired"]


def test_a_reversed_redemption_makes_a_cheque_what_it_was(waiting: Office) -> None:
    grant = waiting.grant()
    first, second, *_ = ids(grant)
    waiting.tell(registered([first]), redeemed([first, second]), reversed_(first), reversed_(second))
    assert waiting.states(grant)[:2] == ["spendable", "issued"]
    waiting.tell(redeemed([first]))
    assert waiting.states(grant)[0] == "redeemed"


def test_what_expires_goes_back_to_its_own_envelope_once(waiting: Office) -> None:
    grant = waiting.grant()
    assert waiting.engaged() == [2_000, 3_000]
    waiting.tell(expired(ids(grant)[1:3]), expired(ids(grant)[1:3]))
    waiting.tell(expired(ids(grant)[1:4]))
    assert waiting.engaged() == [1_000, 1_000]
    assert waiting.states(grant) == ["issued", "expired", "expired", "expired", "issued"]


def test_what_was_spent_stays_engaged(waiting: Office) -> None:
    grant = waiting.grant()
    waiting.tell(redeemed(ids(grant)))
    assert waiting.engaged() == [2_000, 3_000]


def test_a_cancellation_is_decided_by_the_redeemer_cheque_by_cheque(waiting: Office) -> None:
    grant = waiting.grant()
    asked = request(waiting, "prescriber", waiting.prescriber, grant_id=grant["grant_id"])
    assert outcomes(waiting, asked) == [("requested", None)] * 5
    [told] = waiting.events("cancellation.requested")
    assert told == {"cancellation_id": asked["cancellation_id"], "cheque_ids": ids(grant), "reason": "Perdu."}
    assert waiting.engaged() == [2_000, 3_000]
    late, *others = ids(grant)
    waiting.tell(
        redeemed([late]),
        cancelled(asked["cancellation_id"], others),
        cancellation_refused(asked["cancellation_id"], late, "already-redeemed"),
    )
    assert outcomes(waiting, asked) == [("refused", "already-redeemed")] + [("cancelled", None)] * 4
    assert waiting.states(grant) == ["redeemed"] + ["cancelled"] * 4
    assert waiting.engaged() == [1_000, 0]


def test_what_has_ended_or_is_asked_for_already_is_refused_at_once(waiting: Office) -> None:
    grant = waiting.grant()
    spent, asked, *others = ids(grant)
    waiting.tell(redeemed([spent]))
    request(waiting, cheque_ids=[asked])
    assert problem(waiting.post("/v1/cancellations", {"cheque_ids": [spent, asked], "reason": "?"})) == (
        409,
        "nothing-to-cancel",
    )
    shown = request(waiting, grant_id=grant["grant_id"])["cheques"]
    assert [(cheque["outcome"], cheque["reason"]) for cheque in shown] == [
        ("refused", "redeemed"),
        ("refused", "cancellation-in-hand"),
        *[("requested", None)] * 3,
    ]
    assert [told["cheque_ids"] for told in waiting.events("cancellation.requested")] == [[asked], others]


def test_after_a_refusal_a_cancellation_may_be_asked_for_again(waiting: Office) -> None:
    first, *_ = ids(waiting.grant())
    asked = request(waiting, cheque_ids=[first])
    waiting.tell(cancellation_refused(asked["cancellation_id"], first, "blocked"))
    assert request(waiting, cheque_ids=[first])["cheques"][0]["outcome"] == "requested"


def test_blocks_are_mirrored_and_told_and_taken_back(waiting: Office) -> None:
    grant = waiting.grant()
    first, second, *_ = ids(grant)
    body = {"cheque_ids": [second, first], "reason": "Volés."}
    shown = waiting.made(waiting.post("/v1/blocks", body, "prescriber", waiting.prescriber), 200)["cheques"]
    assert [(cheque["cheque_id"], cheque["state"]) for cheque in shown] == [(first, "blocked"), (second, "blocked")]
    waiting.tell(registered([first]))
    assert waiting.states(grant)[:3] == ["blocked", "blocked", "issued"]
    waiting.made(waiting.post("/v1/blocks", body), 200)
    waiting.made(waiting.post("/v1/unblocks", body), 200)
    assert waiting.states(grant)[:2] == ["spendable", "issued"]
    assert waiting.events("cheques.blocked") == [{"cheque_ids": [first, second], "reason": "Volés."}]
    assert len(waiting.events("cheques.unblocked")) == 1


def test_a_cheque_that_has_ended_is_not_blocked_and_then_none_is(waiting: Office) -> None:
    grant = waiting.grant()
    waiting.tell(redeemed(ids(grant)[:1]))
    answer = waiting.post("/v1/blocks", {"cheque_ids": ids(grant), "reason": "?"})
    assert problem(answer) == (409, "cheque-ended")
    assert answer.json is not None
    assert answer.json["cheques"] == [{"cheque_id": ids(grant)[0], "reason": "redeemed"}]
    assert waiting.states(grant) == ["redeemed"] + ["issued"] * 4


def test_a_cheque_spent_before_its_block_was_heard_is_blocked_again_when_that_is_reversed(waiting: Office) -> None:
    grant = waiting.grant()
    first, *_ = ids(grant)
    waiting.made(waiting.post("/v1/blocks", {"cheque_ids": [first], "reason": "?"}), 200)
    waiting.tell(redeemed([first]))
    assert waiting.states(grant)[0] == "redeemed"
    waiting.tell(reversed_(first))
    assert waiting.states(grant)[0] == "blocked"


def test_another_prescribers_cheques_are_not_there(waiting: Office) -> None:
    other = waiting.prescriber_named("other")
    mine, theirs = waiting.grant(), waiting.grant(scope=other)
    body = {"cheque_ids": [ids(mine)[0], ids(theirs)[0]], "reason": "?"}
    for path in ("/v1/blocks", "/v1/unblocks", "/v1/cancellations"):
        answer = waiting.post(path, body, "prescriber", waiting.prescriber)
        assert problem(answer) == (404, "not-found")
        assert answer.json is not None
        assert answer.json["cheque_ids"] == [ids(theirs)[0]]
    whole = {"grant_id": theirs["grant_id"], "reason": "?"}
    answer = waiting.post("/v1/cancellations", whole, "prescriber", waiting.prescriber)
    assert problem(answer) == (404, "not-found")
    assert ids(theirs)[0] not in answer.text
    cancellation = request(waiting, cheque_ids=ids(theirs))
    path = f"/v1/cancellations/{cancellation['cancellation_id']}"
    assert problem(waiting.get(path, "prescriber", waiting.prescriber)) == (404, "not-found")
    assert waiting.get(path, "prescriber", other).status_code == 200
    assert problem(waiting.get(f"/v1/cancellations/{uuid4()}")) == (404, "not-found")


def test_a_cancellation_names_a_grant_or_cheques_and_a_reason(waiting: Office) -> None:
    for body in ({}, {"reason": "?"}, {"cheque_ids": [], "reason": "?"}, {"cheque_ids": ["x"], "reason": "?"}):
        assert problem(waiting.post("/v1/cancellations", body)) == (422, "invalid")


def test_balances_count_every_cheque_once_and_engage_what_has_not_gone_back(waiting: Office) -> None:
    grant = waiting.grant(amount_cents=8_000)
    one, two, three, four, five, six, *_ = ids(grant)
    asked = request(waiting, cheque_ids=[two])
    waiting.made(waiting.post("/v1/blocks", {"cheque_ids": [four], "reason": "?"}), 200)
    waiting.tell(registered([five, six]), redeemed([one]), cancelled(asked["cancellation_id"], [two]), expired([three]))
    balances = waiting.made(waiting.get("/v1/balances", "finance"), 200)
    [programme] = balances["programmes"]
    expected = {"issued": 2, "spendable": 2, "blocked": 1, "redeemed": 1, "cancelled": 1, "expired": 1}
    assert programme == {
        "programme": "pass",
        "states": {state: {"number": number, "cents": number * 1000} for state, number in expected.items()},
    }
    for envelope in balances["envelopes"]:
        held = sum(sums["cents"] for state, sums in envelope["states"].items() if state not in ("cancelled", "expired"))
        assert held == envelope["engaged_cents"]
        assert envelope["available_cents"] == envelope["amount_cents"] - envelope["engaged_cents"]
    assert [envelope["engaged_cents"] for envelope in balances["envelopes"]] == [1_000, 5_000]


def test_an_envelope_that_nothing_is_charged_to_is_in_the_balances(office: Office) -> None:
    office.envelope(5_000)
    balances = office.made(office.get("/v1/balances"), 200)
    assert balances["programmes"][0]["states"]["issued"] == {"number": 0, "cents": 0}


def test_money_that_comes_back_does_not_meet_a_grant_crosswise(office: Office) -> None:
    """News of the younger envelope first: both rows are locked in the order of their ids all the same."""
    office.envelope(3_000, priority=1)
    office.envelope(100_000, priority=2)
    grant = office.grant()
    office.tell(expired(ids(grant)[3:]), redeemed(ids(grant)[:1]), expired(ids(grant)[1:3]))
    assert office.engaged() == [1_000, 0]


def test_news_lock_an_envelope_only_once_all_are_applied(office: Office) -> None:
    office.envelope(5_000)
    grant, transaction = office.grant(), office.service.runtime.transaction

    def charge(_session: Session, _run: Sequence[Event[Any]]) -> None:
        with transaction() as granting:
            granting.execute(sa.text("SELECT FROM envelope FOR NO KEY UPDATE NOWAIT"))

    with transaction() as session:
        page = news(expired(ids(grant)[1:]), redeemed(ids(grant)[:1]))
        run_handlers(session, page, {**HANDLERS, "cheques.redeemed": charge})
    assert office.engaged() == [1_000]


def test_released_money_can_be_granted_again(office: Office) -> None:
    office.envelope(5_000)
    grant = office.grant()
    assert problem(office.ask()) == (409, "envelope-exhausted")
    office.tell(expired(ids(grant)))
    assert len(office.grant()["cheques"]) == 5


def test_what_is_handled_is_a_known_kind() -> None:
    assert set(HANDLERS) <= {*KINDS, PAGE_END}


def test_a_page_of_news_that_fails_releases_nothing(office: Office) -> None:
    office.envelope(5_000)
    grant = office.grant()

    def fail(session: Session, run: Sequence[Event[Any]]) -> None:
        raise KeyError(run[0].kind)

    def apply() -> None:
        with office.service.runtime.transaction() as session:
            page = news(expired(ids(grant)), redeemed(ids(grant)))
            run_handlers(session, page, {**HANDLERS, "cheques.redeemed": fail})

    with pytest.raises(KeyError):
        apply()
    assert office.engaged() == [5_000]
    assert office.states(grant) == ["spendable"] * 5


@pytest.mark.slow
def test_any_number_of_refusals_is_heard_at_once_each_with_its_own_reason(office: Office) -> None:
    office.envelope(5_000)
    first = ids(office.grant())[0]
    body = {"cheque_ids": [first], "reason": "Rendu."}
    asked = office.made(office.post("/v1/cancellations", body), 202)["cancellation_id"]
    strangers = [{"cheque_id": uuid4(), "reason": "expired"} for _ in range(35_000)]
    other = ("cancellation.refused", {"cancellation_id": uuid4(), "cheques": [{"cheque_id": first, "reason": "?"}]})
    many = ("cancellation.refused", {"cancellation_id": uuid4(), "cheques": strangers})
    office.tell(cancellation_refused(asked, first, "already-redeemed"), other, many)
    shown = office.made(office.get(f"/v1/cancellations/{asked}"), 200)
    assert [line["reason"] for line in shown["cheques"]] == ["already-redeemed"]
