"""Sending orders to an operator: claim a batch, commit, call, settle.

The operator is called outside any transaction. What its answer means, or the lack of one, is decided here once:

* it was not there and did nothing: the orders are pending again, and all workers leave it alone for a while;
* it will not take an order: that one is refused; of several, halves find out which;
* no answer, or none that can be read: the orders are unknown until its statement settles them (`statement_polling`).
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup, parallel_calls
from services.operator_bridge.interface import OperatorFailure, OperatorRefused, OperatorUnavailable, Order, Receipt
from services.operator_bridge.orders import outcomes, queue
from services.operator_bridge.register.models import Contract
from services.operator_bridge.workers import leases
from shared.eventlog.peer_client import PeerUnavailable
from shared.observability import logs, tracing
from shared.observability.logs import logger
from shared.process.runtime import Runtime

_SENDERS = 2
# The issuer gives this many codes at a time.
_CODES_BATCH_SIZE = 1000
# Collectors of logs cut lines that are longer than 16 kB.
_NAMED_ON_A_LINE = 100


def push(runtime: Runtime, contract_id: UUID, seconds: float) -> int:
    """Sends what a contract has due, batch after batch, for about so many seconds; returns how many orders it sent.

    Where more than a batch waits several senders do it: while one waits for the operator, another has the next batch.
    """
    with runtime.transaction() as session:
        contract = session.get_one(Contract, contract_id)
        operator = lookup.connect(contract.operator, runtime.settings.operators)
        senders = _SENDERS if queue.more_wait_than(session, contract_id, operator.batch_size) else 1
    with leases.taken(runtime) as lease:
        sending = _Sending(runtime, contract, operator, time.monotonic() + seconds, lease)
        return sum(parallel_calls.answers(lambda _: sum(sending.batches()), range(senders)))


@dataclass
class _Sending:
    """Sending to one operator for a while."""

    runtime: Runtime
    contract: Contract
    operator: interface.Operator
    deadline: float
    lease: int

    def batches(self) -> Iterator[int]:
        """Sends one batch after another and yields the size of each."""
        while self.wait_for_turn():
            with self.runtime.transaction() as session:
                orders = queue.claim(session, self.contract.contract_id, self.operator.batch_size, self.lease)
            if not orders:
                return
            self.send_with_codes(orders)
            yield len(orders)
            if time.monotonic() > self.deadline:
                return

    def wait_for_turn(self) -> bool:
        """Waits until the operator may be called; False where that is after the deadline."""
        while True:
            with self.runtime.transaction() as session:
                if queue.take_turn(session, self.contract.contract_id, self.operator.rate):
                    return True
                wait = queue.next_turn(session, self.contract.contract_id)
            if wait is None or time.monotonic() + wait > self.deadline:
                return False
            time.sleep(wait)

    def send_with_codes(self, orders: Sequence[Order]) -> None:
        """Sends claimed orders; those whose code the issuer does not give now are pending again."""
        needing = [order for order in orders if order.kind == "register" and self.operator.needs_codes]
        codes: dict[UUID | None, str] = {}
        reason = "the issuer gave no code"
        try:
            codes = self.ask_codes([order.cheque_id for order in needing])
        except PeerUnavailable as error:
            reason = str(error)
        without = {order.reference for order in needing if order.cheque_id not in codes}
        self.put_back([order for order in orders if order.reference in without], reason)
        ready = [order for order in orders if order.reference not in without]
        if ready:
            self.send([dataclasses.replace(order, code=codes.get(order.cheque_id)) for order in ready])

    def ask_codes(self, cheques: Sequence[UUID | None]) -> dict[UUID | None, str]:
        """The codes of cheques, for this one call; raises PeerUnavailable."""
        codes: dict[UUID | None, str] = {}
        for start in range(0, len(cheques), _CODES_BATCH_SIZE):
            cheque_ids = [str(cheque_id) for cheque_id in cheques[start : start + _CODES_BATCH_SIZE]]
            answer = self.runtime.peers["issuer"].post("/v1/codes", {"cheque_ids": cheque_ids})
            codes |= {UUID(line["cheque_id"]): line["code"] for line in answer["codes"]}
        return codes

    def send(self, orders: Sequence[Order]) -> None:
        """Sends orders and settles what comes of it."""
        began = time.perf_counter()
        receipts, failure = self.call(orders)
        by_reference = {receipt.reference: receipt for receipt in receipts}
        rest = [order for order in orders if order.reference not in by_reference]
        if isinstance(failure, OperatorRefused) and len(rest) == 1:
            receipts.append(Receipt(rest.pop().reference, "refused", str(failure)))
        unanswered = {
            UUID(order.reference): receipt.reason or "no outcome"
            for order in orders
            if (receipt := by_reference.get(order.reference)) and receipt.outcome == "unknown"
        }
        with self.runtime.transaction() as session:
            self.record(session, failure)
            outcomes.settle(session, self.contract.operator, receipts)
            if isinstance(failure, OperatorUnavailable):
                queue.put_back(session, _ids(rest), str(failure))
            elif not isinstance(failure, OperatorRefused):
                unanswered |= dict.fromkeys(_ids(rest), str(failure or "no receipt"))
            outcomes.mark_unknown(session, unanswered)
        answered = sum(receipt.outcome != "unknown" for receipt in by_reference.values())
        self.log(orders, answered, failure, time.perf_counter() - began)
        if isinstance(failure, OperatorRefused) and rest:
            self.send_halves(rest)

    def call(self, orders: Sequence[Order]) -> tuple[list[Receipt], OperatorFailure | None]:
        """The operator's receipts, and the failure, if there was one."""
        receipts: list[Receipt] = []
        order_ids = logs.ids(order.reference for order in orders)
        with tracing.span("push orders", contract=self.contract.code, orders=len(orders), order_ids=order_ids):
            try:
                for receipt in self.operator.push(orders):
                    receipts.append(receipt)
            except OperatorFailure as error:
                return receipts, error
        return receipts, None

    def record(self, session: Session, failure: OperatorFailure | None) -> None:
        """Records a failure, after which the operator is left alone for a while, or an answer."""
        contract_id = self.contract.contract_id
        if failure is None or isinstance(failure, OperatorRefused):
            if queue.record_success(session, contract_id):
                logger().info("circuit_closed", contract=self.contract.code)
        elif queue.record_failure(session, contract_id, getattr(failure, "retry_after", None), str(failure)):
            logger().error("circuit_opened", contract=self.contract.code, failure=str(failure))

    def send_halves(self, orders: Sequence[Order]) -> None:
        """Sends what was refused together in two, so that the one order that is the cause does not spoil the others."""
        middle = len(orders) // 2
        for half in (orders[:middle], orders[middle:]):
            if self.wait_for_turn():
                self.send(half)
            else:
                self.put_back(half, "refused together with others")

    def put_back(self, orders: Sequence[Order], reason: str) -> None:
        if orders:
            with self.runtime.transaction() as session:
                queue.put_back(session, _ids(orders), reason)

    def log(self, orders: Sequence[Order], answered: int, failure: OperatorFailure | None, seconds: float) -> None:
        """Logs what came of a call, with the ids of orders and cheques, some on each line; nothing else of them."""
        write = logger().warning if failure or answered < len(orders) else logger().info
        for start in range(0, len(orders), _NAMED_ON_A_LINE):
            some = orders[start : start + _NAMED_ON_A_LINE]
            write(
                "orders_sent",
                contract=self.contract.code,
                orders=len(orders),
                answered=answered,
                failure=f"{type(failure).__name__}: {failure}" if failure else None,
                milliseconds=round(seconds * 1000, 2),
                order_ids=logs.ids(order.reference for order in some),
                cheque_ids=logs.ids(order.cheque_id for order in some),
            )


def _ids(orders: Sequence[Order]) -> list[UUID]:
    return [UUID(order.reference) for order in orders]
