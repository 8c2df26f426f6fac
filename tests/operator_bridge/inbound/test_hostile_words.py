"""What an operator says may be odd, or wicked: it must not stop what others say, nor leave a code behind."""

import json
from uuid import UUID

import pytest

from demo.simulators import docaposte
from services.operator_bridge.inbound import applying, statement_polling
from services.operator_bridge.interface import Paid, Receipt
from services.operator_bridge.orders import outcomes
from services.operator_bridge.register.models import MAX_UNANSWERED, Message
from shared.values import clock
from shared.values.ids import new_id
from tests.operator_bridge.conftest import Office


def store(office: Office, cheque: UUID, reference: str, redeemed_at: str = "2026-11-01T10:00:00Z") -> None:
    """A message that was verified, of a redemption at the operator's own till."""
    said = {
        "reference": reference,
        "cheque": str(cheque),
        "structure": str(office.structure),
        "amount_cents": 1000,
        "redeemed_at": redeemed_at,
    }
    body = json.dumps({"type": "redemption.made", "data": said}).encode()
    with office.bridge.runtime.transaction() as session:
        session.add(Message(operator=docaposte.CODE, webhook_id=str(new_id()), headers={}, body=body))


@pytest.mark.parametrize(
    ("reference", "redeemed_at"),
    [
        ("op-\u0000-1", "2026-11-01T10:00:00Z"),
        ("op-1", "9999-12-31T23:59:59Z"),
        ("op-1", "2200-06-15T12:00:00Z"),
        ("op-1", "2000-01-01T00:00:00+14:00"),
        ("op-\ud800", "2026-11-01T10:00:00Z"),
    ],
    ids=["NUL", "the last day of calendars", "after the last instant", "before the first", "half a character"],
)
def test_an_odd_message_is_put_aside_and_the_others_are_applied(
    reference: str, redeemed_at: str, office: Office
) -> None:
    contract = office.contract()
    odd, good = office.issue(2)
    office.push_all(contract)
    store(office, odd, reference, redeemed_at)
    store(office, good, "op-2")
    office.apply()
    assert [str(told["cheque_id"]) for told in office.published("redemption.reported")] == [str(good)]
    put_aside, applied = office.rows("SELECT applied_at, error FROM message ORDER BY message_id")
    assert put_aside.error
    assert not put_aside.applied_at
    assert applied.applied_at


def test_a_code_in_an_operators_reason_is_not_kept_or_told(office: Office) -> None:
    office.contract()
    [cheque] = office.issue()
    code = office.codes[str(cheque)]
    [order] = office.rows("SELECT order_id FROM operator_order")
    office.execute("UPDATE operator_order SET state = 'sent', sent_at = now()")
    with office.bridge.runtime.transaction() as session:
        outcomes.settle(session, docaposte.CODE, [Receipt(str(order.order_id), "refused", f"{code} is known already")])
    kept = office.rows("SELECT o.reason, link.reason AS links FROM operator_order o JOIN link USING (cheque_id)")
    assert [tuple(row) for row in kept] == [("[code] is known already", "[code] is known already")]
    assert code not in str(office.published("cheques.refused"))


def test_a_reversal_that_the_operator_refuses_waits_for_a_person(office: Office) -> None:
    contract = office.contract()
    [cheque] = office.issue()
    office.affiliate(contract)
    office.push_all(contract)
    [redemption] = office.redeem([cheque])
    office.push_all(contract)
    office.reverse(redemption, cheque)
    [order] = office.rows("SELECT order_id FROM operator_order WHERE kind = 'reverse'")
    office.execute("UPDATE operator_order SET state = 'sent', sent_at = now() WHERE kind = 'reverse'")
    with office.bridge.runtime.transaction() as session:
        outcomes.settle(session, docaposte.CODE, [Receipt(str(order.order_id), "refused", "in a payment run")])
    [difference] = office.get("/v1/discrepancies")["items"]
    assert (difference["kind"], difference["theirs"]) == ("status_differs", {"refused": "in a payment run"})


def test_a_redemption_taken_back_after_it_was_paid_is_reversed_on_both_sides(office: Office) -> None:
    contract = office.contract()
    [cheque] = office.issue()
    office.affiliate(contract)
    office.push_all(contract)
    [redemption] = office.redeem([cheque])
    office.push_all(contract)
    [row] = office.rows("SELECT reference FROM redemption")
    with office.bridge.runtime.transaction() as session:
        applying.apply(session, docaposte.CODE, [Paid("PAY-1", clock.today(), (row.reference,))])
    office.reverse(redemption, cheque)
    assert office.rows("SELECT state FROM redemption")[0].state == "reversed"


def test_orders_that_wait_for_a_person_do_not_hide_those_that_a_statement_can_settle(office: Office) -> None:
    contract = office.contract()
    office.issue(1100)
    stuck = "(SELECT order_id FROM operator_order ORDER BY sequence LIMIT 1000)"
    office.execute("UPDATE operator_order SET state = 'unknown', lost = 1, sent_at = now() - interval '1 hour'")
    office.execute(
        f"UPDATE operator_order SET lost = :most, sent_at = now() - interval '2 hours' WHERE order_id IN {stuck}",
        most=MAX_UNANSWERED,
    )
    done = statement_polling.poll(office.bridge.runtime, contract)
    assert (done.unsettled, done.sent_again) == (100, 100)


def test_a_contract_does_not_end_while_its_operator_has_something_to_do(office: Office) -> None:
    contract = office.contract()
    office.issue()
    path = f"/v1/contracts/{contract}/state"
    assert office.post(path, {"state": "draining"}).get_json()["state"] == "draining"
    headers = office.bridge.headers("admin")
    refused = office.bridge.client.post(path, json={"state": "ended"}, headers=headers)
    assert (refused.status_code, refused.get_json()["orders"]) == (409, 1)
