"""Reading operators' statements: events that no message brought are applied, unknown orders are settled.

The statement is streamed: only the current part is in memory, and no transaction is open meanwhile. The statement has
an order of unknown outcome, with its outcome; or it has not, long enough after the sending, and then the order was not
done and is sent again under the same reference. Where the operator cannot be asked, a person decides.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.inbound import applying, put_aside
from services.operator_bridge.interface import (
    Event,
    Line,
    Operator,
    OperatorFailure,
    Period,
    UnknownKind,
    UnknownLine,
    Unreadable,
)
from services.operator_bridge.orders import outcomes, queue
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import MAX_UNANSWERED, Contract
from services.operator_bridge.register.transitions import WORKING
from services.operator_bridge.workers import leases
from shared.observability.logs import logger
from shared.problems import Unavailable
from shared.process.runtime import Runtime
from shared.values import clock

_BATCH_SIZE = 1000
# Five times what a whole country has: a longer one would fill the disk.
_MAX_LINES = 100_000_000
# Each statement begins this long before the end of the last, or longer where its lines come later: clocks differ, and
# a line may be dated late.
_OVERLAP = timedelta(minutes=5)

_UNKNOWN = sa.text("""
    SELECT order_id, sent_at FROM operator_order
    WHERE contract_id = :contract AND state = 'unknown' AND lost < :most ORDER BY lost, sent_at LIMIT :limit
""")

_NOT_DONE = sa.text("""
    SELECT order_id FROM operator_order
    WHERE order_id = ANY(:orders) AND state = 'unknown' AND sent_at < :sent_before AND lost < :most
    FOR UPDATE
""")

_STILL_UNKNOWN = sa.text("SELECT count(*) FROM operator_order WHERE order_id = ANY(:orders) AND state = 'unknown'")

_WITH_UNKNOWN = sa.text("""
    SELECT DISTINCT contract_id FROM operator_order WHERE state = 'unknown' AND lost < :most
""")


@dataclass(frozen=True)
class Poll:
    """The result of reading a statement: its lines, and the orders whose outcome was unknown."""

    taken_at: datetime
    lines: int
    unsettled: int
    settled: int
    sent_again: int


class StatementBeingRead(Unavailable, slug="statement-being-read"):
    """Another process reads this statement now: an operator has one reader at a time."""


def poll(runtime: Runtime, contract_id: UUID, most: int = MAX_UNANSWERED) -> Poll:
    """Reads what is new on a contract's statement and applies it; orders that got no answer `most` times are left.

    Raises StatementBeingRead, or Unavailable where the operator does not give its statement whole; what came of it is
    applied all the same.
    """
    with leases.alone(runtime, f"poll:{contract_id}") as first:
        if not first:
            raise StatementBeingRead("The operator's statement is being read by another process.")
        return _poll(runtime, contract_id, most)


def _poll(runtime: Runtime, contract_id: UUID, most: int) -> Poll:
    taken_at = clock.now()
    with runtime.transaction() as session:
        contract = contracts.find(session, contract_id)
        rows = session.execute(_UNKNOWN, {"contract": contract_id, "limit": _BATCH_SIZE, "most": most})
        unknown: dict[UUID, datetime] = {row.order_id: row.sent_at for row in rows}
        unsettled = queue.read(session, list(unknown))
    operator = lookup.connect(contract.operator, runtime.settings.operators)
    period = Period(contract.code, _since(contract, unknown, operator.statement_lag), unsettled)
    lines = 0
    for part in parts(operator, period, _BATCH_SIZE):
        _apply_part(runtime, contract, part)
        lines += len(part)
    with runtime.transaction() as session:
        session.get_one(Contract, contract_id).polled_at = taken_at
        orders = list(unknown)
        left = session.execute(_STILL_UNKNOWN, {"orders": orders}).scalar_one()
        sent_before = taken_at - operator.statement_lag
        not_done = session.scalars(_NOT_DONE, {"orders": orders, "sent_before": sent_before, "most": most}).all()
        outcomes.send_again(session, not_done, "not on the statement", "unknown")
    return Poll(taken_at, lines, len(orders), len(orders) - left, len(not_done))


def _apply_part(runtime: Runtime, contract: Contract, part: Sequence[Line]) -> None:
    """Applies what a part of a statement reports; a line that cannot be applied, or is of an unknown kind, is kept."""
    events = [line for line in part if isinstance(line, Event)]
    put_aside.apply_each(events, partial(_apply, runtime, contract.operator), partial(_keep, runtime, contract))
    for line in {line.kind: line for line in part if isinstance(line, UnknownLine)}.values():
        with runtime.transaction() as session:
            put_aside.keep_line(session, contract, line.kind, line.content, UnknownKind(line.kind))


def _apply(runtime: Runtime, operator: str, events: Sequence[Event]) -> None:
    with runtime.transaction() as session:
        applying.apply(session, operator, events)


def _keep(runtime: Runtime, contract: Contract, event: Event, error: Exception) -> None:
    with runtime.transaction() as session:
        put_aside.keep_line(session, contract, "", repr(event), error)


def try_poll(runtime: Runtime, contract_id: UUID) -> None:
    """Reads a statement if it can be had now; the next tick tries again."""
    try:
        done = poll(runtime, contract_id)
    except StatementBeingRead:
        return
    except Unavailable as error:
        logger().warning("statement_unavailable", contract_id=str(contract_id), error=error.detail)
    else:
        logger().info("statement_read", contract_id=str(contract_id), **asdict(done))


def parts(operator: Operator, period: Period, size: int) -> Iterator[tuple[Line, ...]]:
    """A statement in parts of so many lines; raises Unavailable, after all that came, where it cannot be had whole."""
    lines, number, failure = operator.fetch(period), 0, None
    while failure is None:
        part: list[Line] = []
        try:
            for line in itertools.islice(lines, size):
                part.append(line)
        except OperatorFailure as error:
            failure = error
        if part:
            yield tuple(part)
        elif failure is None:
            return
        number += len(part)
        if number > _MAX_LINES:
            failure = Unreadable(f"more than {_MAX_LINES} lines")
    raise _unavailable(failure)


def statement_date(operator: Operator, contract: str) -> datetime | None:
    """The instant of the cheques' statuses on a statement, if there is any; raises Unavailable."""
    try:
        return operator.statement_date(contract)
    except OperatorFailure as error:
        raise _unavailable(error) from None


def contracts_to_poll(session: Session) -> list[UUID]:
    """The contracts whose operators have statements, the draining ones included."""
    found = session.execute(sa.select(Contract.contract_id, Contract.operator).where(Contract.state.in_(WORKING)))
    return [contract_id for contract_id, operator in found if lookup.adapter(operator).has_statement]


def contracts_to_repair(session: Session) -> list[UUID]:
    """The contracts with orders whose outcome only a statement can show."""
    return list(session.scalars(_WITH_UNKNOWN, {"most": MAX_UNANSWERED}))


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"The operator does not give its statement: {error}.", slug="operator-unavailable")


def _since(contract: Contract, unknown: Mapping[UUID, datetime], lag: timedelta) -> datetime | None:
    """From the last statement on, or from the first sending whose outcome is unknown."""
    if contract.polled_at is None:
        return None
    return min([contract.polled_at, *unknown.values()]) - max(_OVERLAP, lag)
