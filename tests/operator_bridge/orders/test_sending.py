"""Telling the operator: what it is told, in which order, and what becomes of it when things go wrong."""

import threading
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from demo.simulators.docaposte import CODE, Simulator
from demo.simulators.docaposte_register import MAX_OPERATIONS, Line, Register
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.interface import Receipt
from services.operator_bridge.orders import outcomes, queue, sending
from services.operator_bridge.register.models import MAX_UNANSWERED
from services.operator_bridge.workers import leases
from shared.values import clock
from tests.operator_bridge.conftest import Office


def test_cheques_are_registered_with_their_codes_and_told_of_once(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    cheques = office.issue(3)
    assert office.push(contract) == 3
    assert office.links() == {"registered": 3}
    (event,) = office.published("cheques.registered")
    assert {UUID(each) for each in event["cheque_ids"]} == set(cheques)
    assert set(simulator.register.numbers) == {office.codes[str(each)] for each in cheques}
    assert office.push(contract) == 0


def test_no_code_is_kept(office: Office) -> None:
    contract = office.contract()
    (cheque,) = office.issue()
    office.push(contract)
    tables = [
        row.tablename for row in office.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'operator_bridge'")
    ]
    code = office.codes[str(cheque)]
    for table in tables:
        assert office.rows(f"SELECT 1 FROM {table} t WHERE t::text LIKE '%' || :code || '%'", code=code) == []


def test_settling_a_batch_reads_none_of_the_thousands_that_wait(office: Office) -> None:
    contract = office.contract()
    office.issue(50)
    office.push(contract)
    office.execute("ANALYZE operator_order, link")  # as a switch begins: nothing is known of what it will add
    office.issue(5000)
    with office.bridge.runtime.transaction() as session:
        orders = queue.claim(session, contract, 10, 1)
        # Whether a table is read whole is a matter of its statistics; by which index a row is found is not.
        session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off"))
        session.execute(text("SET LOCAL enable_mergejoin = off"))
        before = _read(session)
        assert outcomes.settle(session, CODE, [Receipt(order.reference, "accepted") for order in orders]) == 10
        assert _read(session) - before < 200


def _read(session: Session) -> int:
    """Rows of orders and links that this transaction read so far, by whatever plan."""
    read = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables"
    return int(session.scalar(text(f"{read} WHERE relname IN ('operator_order', 'link')")))


def test_a_batch_is_split_by_the_operators_size(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(1100)
    assert office.push(contract, 60.0) == 1100
    assert simulator.register.calls == 3
    assert office.links() == {"registered": 1100}


def test_a_redemption_is_declared_after_its_cheque_is_registered(office: Office) -> None:
    contract = office.contract()
    office.affiliate(contract)
    cheques = office.issue(2)
    redemptions = office.redeem(cheques)
    assert office.orders("declare") == {"pending": 2}
    office.push_all(contract)
    assert office.orders("declare") == {"accepted": 2}
    (event,) = office.published("redemptions.confirmed")
    assert {UUID(each) for each in event["redemption_ids"]} == set(redemptions)


def test_what_the_redeemer_told_first_waits_for_the_issuers_cheque(office: Office) -> None:
    contract = office.contract()
    office.affiliate(contract)
    known, unknown = office.issue(), office.issue(tell=False)
    office.redeem([*known, *unknown])
    assert office.orders("declare") == {"pending": 1}
    office.tell_issued(unknown)
    office.push_all(contract)
    assert office.orders("declare") == {"accepted": 2}
    assert office.links() == {"registered": 2}


def test_a_reversal_that_came_before_the_cheque_ends_as_if_in_order(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.affiliate(contract)
    (cheque,) = office.issue(tell=False)
    (redemption,) = office.redeem([cheque])
    office.reverse(redemption, cheque)
    (again,) = office.redeem([cheque])
    office.tell_issued([cheque])
    office.push_all(contract)
    assert office.orders() == {"accepted": 5}
    assert simulator.register.cheques[str(cheque)].status == "redeemed"
    states = {row.redemption_id: row.state for row in office.rows("SELECT redemption_id, state FROM redemption")}
    assert states == {redemption: "reversed", again: "confirmed"}


def test_a_redemption_at_the_operators_till_is_not_declared_to_it(office: Office) -> None:
    contract = office.contract()
    cheques = office.issue()
    office.redeem(cheques, via="operator", contract_id=contract)
    assert office.orders("declare") == {}


def test_cancelled_and_expired_cheques_are_cancelled_with_the_operator(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    cancelled, expired = office.issue(2)
    office.cancel([cancelled])
    office.tell("cheques.expired", {"cheque_ids": [expired], "expired_at": clock.now()})
    office.push_all(contract)
    assert office.orders("cancel") == {"accepted": 2}
    assert office.links() == {"closed": 2}
    assert [each.status for each in simulator.register.cheques.values()] == ["cancelled", "cancelled"]


def test_a_block_stops_the_operators_till_and_a_release_opens_it(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    (cheque,) = office.issue()
    office.tell("cheques.blocked", {"cheque_ids": [cheque], "reason": "lost"})
    office.push_all(contract)
    assert simulator.register.cheques[str(cheque)].status == "blocked"
    office.tell("cheques.unblocked", {"cheque_ids": [cheque], "reason": "found"})
    office.push_all(contract)
    assert simulator.register.cheques[str(cheque)].status == "registered"


def test_a_structure_is_made_known_before_its_redemptions_and_suspended(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    cheques = office.issue()
    office.push_all(contract)
    office.affiliate(contract)
    office.redeem(cheques)
    assert office.push(contract) == 2
    assert office.orders("declare") == {"accepted": 1}
    office.tell("structure.suspended", {"structure_id": office.structure, "reason": "closed"})
    office.push_all(contract)
    assert simulator.register.structures == {str(office.structure): False}


def test_cheques_issued_before_the_contract_are_registered_when_it_goes_live(office: Office) -> None:
    open_cheque, redeemed, cancelled = office.issue(3)
    office.redeem([redeemed])
    office.cancel([cancelled])
    contract = office.contract(state="draft")
    office.affiliate(contract)
    assert office.links() == {}
    office.post(f"/v1/contracts/{contract}/state", {"state": "live"})
    office.push_all(contract)
    linked = {row.cheque_id for row in office.rows("SELECT cheque_id FROM link WHERE state = 'registered'")}
    assert linked == {open_cheque, redeemed}
    assert office.orders("declare") == {"accepted": 1}


def test_a_refused_cheque_is_told_of_and_what_waited_for_it_is_refused(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    cheques = office.issue()
    (redemption,) = office.redeem(cheques)
    simulator.faults.order("refuse", 1, 0)
    office.push_all(contract)
    assert office.links() == {"refused": 1}
    assert office.published("cheques.refused")[0]["cheques"] == [
        {"cheque_id": str(cheques[0]), "reason": "refused-on-demand"}
    ]
    (event,) = office.published("redemptions.refused")
    assert event["redemptions"] == [{"redemption_id": str(redemption), "reason": "cheque-not-registered"}]
    assert office.orders() == {"refused": 2}


def test_one_order_that_spoils_its_batch_is_found_and_refused_alone(office: Office) -> None:
    contract = office.contract()
    office.issue(20)
    office.affiliate(contract, name="x" * 300)
    office.issue(20)
    office.push(contract)
    assert office.orders("register") == {"accepted": 40}
    assert office.rows("SELECT state, reason FROM operator_order WHERE kind = 'affiliate'") == [("refused", "http-422")]


def test_an_operator_that_is_not_there_is_tried_again_later(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(2)
    simulator.faults.order("unavailable", 1, 30)
    assert office.push(contract) == 2
    assert office.orders() == {"pending": 2}
    ((seconds, failures),) = office.rows("SELECT extract(epoch FROM next_push_at - now()), failures FROM contract")
    assert 25 < seconds <= 30
    assert failures == 1
    assert sending.push(office.bridge.runtime, contract, 0.2) == 0
    assert office.push(contract) == 2
    assert office.rows("SELECT failures FROM contract") == [(0,)]
    assert office.orders() == {"accepted": 2}


def test_an_issuer_that_is_not_there_leaves_orders_pending(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    (cheque,) = office.issue()
    code = office.codes.pop(str(cheque))
    office.push(contract)
    assert office.orders() == {"pending": 1}
    assert simulator.register.cheques == {}
    office.codes[str(cheque)] = code
    office.push(contract)
    assert office.orders() == {"accepted": 1}


@pytest.mark.parametrize("fault", ["time_out_after_doing", "error"])
def test_no_answer_is_unknown_and_the_statement_settles_it(office: Office, simulator: Simulator, fault: str) -> None:
    contract = office.contract()
    office.issue(3)
    simulator.faults.order(fault, 1, 1.5)
    office.push(contract)
    assert office.orders() == {"unknown": 3}
    assert office.push(contract) == 0
    assert office.published("cheques.registered") == []
    office.execute("UPDATE operator_order SET sent_at = sent_at - interval '2 minutes'")
    done = statement_polling.poll(office.bridge.runtime, contract)
    if fault == "error":
        assert (done.settled, done.sent_again) == (0, 3)
        office.push(contract)
    else:
        assert (done.settled, done.sent_again) == (3, 0)
    assert office.orders() == {"accepted": 3}
    assert len(office.published("cheques.registered")) == 1
    assert len(simulator.register.cheques) == 3


def test_an_order_on_no_statement_yet_is_not_sent_again_too_soon(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue()
    simulator.faults.order("error", 1, 0)
    office.push(contract)
    assert statement_polling.poll(office.bridge.runtime, contract).sent_again == 0
    assert office.orders() == {"unknown": 1}


def test_a_repeat_of_what_was_done_is_a_success(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(2)
    simulator.faults.order("time_out_after_doing", 1, 1.5)
    office.push(contract)
    office.execute("UPDATE operator_order SET state = 'pending'")
    office.push(contract)
    assert office.orders() == {"accepted": 2}
    assert len(simulator.register.cheques) == 2


def test_a_refusal_that_was_not_heard_stays_one(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue()
    simulator.faults.order("refuse", 1, 0)
    simulator.faults.order("time_out_after_doing", 1, 1.5)
    office.push(contract)
    assert office.orders() == {"unknown": 1}
    statement_polling.poll(office.bridge.runtime, contract)
    assert office.orders() == {"refused": 1}


def test_what_a_worker_sends_is_its_own_while_it_lives(office: Office) -> None:
    contract, runtime = office.contract(), office.bridge.runtime
    office.issue(2)
    with leases.taken(runtime) as lease:
        with runtime.transaction() as session:
            queue.claim(session, contract, 10, lease)
        with runtime.transaction() as session:
            queue.sweep(session)
        assert office.orders() == {"sent": 2}
    with runtime.transaction() as session:
        queue.sweep(session)
    assert office.orders() == {"unknown": 2}


def test_a_lease_goes_with_the_connection_of_whoever_held_it(office: Office) -> None:
    runtime = office.bridge.runtime
    with leases.alone(runtime, "a thing") as first:
        assert first
        office.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'")
        with leases.alone(runtime, "a thing") as second:
            assert second
    with leases.alone(runtime, "a thing") as again:
        assert again


def test_a_worker_that_died_leaves_orders_that_become_unknown(office: Office) -> None:
    contract = office.contract()
    office.issue(2)
    with office.bridge.runtime.transaction() as session:
        assert len(queue.claim(session, contract, 10, lease=7)) == 2
    office.execute("UPDATE operator_order SET sent_at = now() - interval '10 minutes'")
    with office.bridge.runtime.transaction() as session:
        queue.sweep(session)
    assert office.orders() == {"unknown": 2}
    assert statement_polling.poll(office.bridge.runtime, contract).sent_again == 2
    office.push(contract)
    assert office.orders() == {"accepted": 2}


def test_an_order_that_never_gets_an_answer_is_left_and_shown(office: Office) -> None:
    contract = office.contract()
    office.issue()
    office.execute(
        "UPDATE operator_order SET state = 'unknown', lost = :lost, sent_at = now() - interval '1 day'",
        lost=MAX_UNANSWERED,
    )
    assert statement_polling.poll(office.bridge.runtime, contract).sent_again == 0
    (stuck,) = office.get("/v1/orders?stuck=true")["items"]
    assert stuck["stuck"] is True
    assert stuck["state"] == "unknown"
    assert office.get("/v1/orders?stuck=false")["items"] == []


def test_workers_that_push_at_once_send_no_order_twice(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(1200)
    office.execute("UPDATE contract SET next_push_at = now()")
    workers = [threading.Thread(target=sending.push, args=(office.bridge.runtime, contract, 5.0)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert office.orders() == {"accepted": 1200}
    assert len(simulator.register.outcomes) == 1200
    assert office.rows("SELECT max(attempts) FROM operator_order") == [(1,)]


class _Waiting(Register):
    """Books in which nothing is written before two batches are there."""

    def work_off(self, operations: list[Mapping[str, Any]], refuse: str | None = None) -> list[Line]:
        _BOTH.wait(0.9)
        return super().work_off(operations, refuse)


_BOTH = threading.Barrier(2)


def test_a_batch_is_sent_while_the_operator_answers_the_one_before(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(MAX_OPERATIONS + 5)
    simulator.register = _Waiting()
    assert office.push(contract) == MAX_OPERATIONS + 5
    assert office.orders() == {"accepted": MAX_OPERATIONS + 5}


def test_all_workers_together_keep_to_the_operators_rate(office: Office) -> None:
    contract = office.contract()
    office.execute("UPDATE contract SET next_push_at = now()")
    with office.bridge.runtime.transaction() as session:
        assert queue.take_turn(session, contract, 10.0)
    with office.bridge.runtime.transaction() as session:
        assert not queue.take_turn(session, contract, 10.0)
        assert 0 < (queue.next_turn(session, contract) or 0) <= 0.1


def test_nothing_is_sent_under_a_contract_that_is_not_live(office: Office) -> None:
    contract = office.contract(state="draft")
    office.affiliate(contract)
    assert office.push(contract) == 0
    assert office.orders() == {"pending": 1}


def test_the_regie_takes_everything_without_a_code(office: Office) -> None:
    contract = office.contract(operator="regie")
    office.affiliate(contract)
    cheques = office.issue(2)
    office.codes.clear()
    office.redeem(cheques[:1])
    office.cancel(cheques[1:])
    office.push_all(contract)
    assert office.orders() == {"accepted": 5}
    assert office.post(f"/v1/contracts/{contract}/comparison").json["compared"] is False


def test_a_redemption_that_nobody_has_to_pay_yet_is_shown(office: Office) -> None:
    cheques = office.issue()
    office.redeem(cheques)
    assert office.orders() == {}
    assert office.get("/v1/balances")["redemptions_without_contract"] == [{"state": "due", "number": 1, "cents": 1000}]


def test_a_push_ends_when_its_time_is_over_however_much_there_is_to_send(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(MAX_OPERATIONS + 1)
    simulator.faults.order("slow", 1, 0.5)
    assert office.push(contract, 0.1) == MAX_OPERATIONS
    assert office.push(contract, 0.1) == 1
