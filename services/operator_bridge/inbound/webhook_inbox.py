"""Messages of operators: verified and stored as they came, answered at once, applied by a task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.inbound import applying, put_aside
from services.operator_bridge.interface import Event, UnknownOperator, Unreadable
from services.operator_bridge.register.models import Message
from services.operator_bridge.workers import wakeups
from shared.database import engine
from shared.observability.logs import logger
from shared.process import slices
from shared.process.prepared_query import PreparedQuery, json_rows, rows_of_json
from shared.process.runtime import Runtime
from shared.settings.settings import ConfigurationError
from shared.values import clock
from shared.values.ids import lowest_id, new_id

# The headers that are of use later; the rest (cookies, tokens of proxies) is not kept.
_KEPT_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "user-agent")
_BATCH_SIZE = 200

_COLUMNS = "message_id uuid, operator text, webhook_id text, headers jsonb, body bytea"
_STORE = PreparedQuery(
    "INSERT INTO message (message_id, operator, webhook_id, headers, body)",
    rows_of_json("messages", _COLUMNS),
    "ON CONFLICT DO NOTHING RETURNING message_id",
)

_UNAPPLIED = (Message.applied_at.is_(None), Message.error.is_(None))
_WAITING = (
    sa.select(Message.message_id, Message.operator)
    .where(*_UNAPPLIED, Message.message_id > sa.bindparam("after"))
    .order_by(Message.message_id)
    .limit(_BATCH_SIZE)
)
_FROM_THE_FIRST = UUID(int=0)

# Ids are in the order in which messages came, so the oldest are found without reading those that stay.
_PRUNE = sa.text("""
    DELETE FROM message WHERE message_id IN (
        SELECT message_id FROM message WHERE message_id < :before_id AND applied_at < :before
        ORDER BY message_id LIMIT :batch_size
    )
    RETURNING message_id
""")
_PRUNE_BATCH_SIZE = 5000


@dataclass(frozen=True)
class _Stored:
    message_id: UUID


def check_door(settings: Mapping[str, str], operator: str) -> None:
    """Raises UnknownOperator where no operator of this name sends messages here: none, not configured, or silent."""
    try:
        adapter = type(lookup.connect(operator, settings))
    except ConfigurationError:
        raise UnknownOperator(operator) from None
    if adapter.verify is interface.Operator.verify:
        raise UnknownOperator(operator)


def receive(runtime: Runtime, operator: str, headers: Mapping[str, str], body: bytes) -> None:
    """Verifies a message, stores it as it came, where it is new, and wakes a worker to apply it.

    Raises UnknownOperator where there is none of the name, ConfigurationError where it is not configured, BadSignature.
    """
    row = {
        "message_id": new_id(),
        "operator": operator,
        "webhook_id": lookup.connect(operator, runtime.settings.operators).verify(headers, body),
        "headers": {name.lower(): value for name, value in headers.items() if name.lower() in _KEPT_HEADERS},
        "body": body,
    }
    if runtime.batcher(_store).submit(row) is None:
        _STORE.run(runtime, {"messages": json_rows([row])}, _Stored)
        wakeups.wake(runtime, "operator_bridge.apply")


def _store(runtime: Runtime, rows: Sequence[dict[str, Any]]) -> list[bool]:
    """Stores messages by one statement and wakes a worker to apply them."""
    _STORE.run_once(runtime, {"messages": json_rows(rows)}, _Stored)
    wakeups.wake(runtime, "operator_bridge.apply")
    return [True] * len(rows)


def apply_waiting(runtime: Runtime) -> int:
    """Applies the messages that wait, oldest first, and returns their number.

    One that cannot be read or applied, for whatever reason, is put aside with its error and holds up no other.
    """
    number, after = 0, _FROM_THE_FIRST
    while True:
        with runtime.transaction() as session:
            waiting = session.execute(_WAITING, {"after": after}).all()
        for operator in sorted({message.operator for message in waiting}):
            message_ids = [message.message_id for message in waiting if message.operator == operator]
            put_aside.apply_each(message_ids, partial(_apply, runtime, operator), partial(_put_aside, runtime))
        number += len(waiting)
        if len(waiting) < _BATCH_SIZE:
            return number
        after = waiting[-1].message_id


def prune(runtime: Runtime, batch_size: int = _PRUNE_BATCH_SIZE, seconds: float = slices.SECONDS) -> int:
    """Deletes applied messages older than MESSAGE_RETENTION_DAYS, for about so many seconds; returns their number.

    Each batch is a transaction. Messages that were not applied stay, however old they are.
    """
    before = clock.now() - timedelta(days=runtime.settings.message_retention_days)
    params = {"before": before, "before_id": lowest_id(before), "batch_size": batch_size}

    def delete(batch: int) -> tuple[int, int | None]:
        with runtime.transaction() as session:
            deleted = len(session.scalars(_PRUNE, params).all())
        return deleted, batch + 1 if deleted == batch_size else None

    return slices.run(delete, 0, seconds)[0]


def _apply(runtime: Runtime, operator: str, message_ids: Sequence[UUID]) -> None:
    """Applies those messages that nobody else has in hand, in one transaction."""
    chosen = sa.select(Message).where(engine.among(Message.message_id, message_ids), *_UNAPPLIED)
    with runtime.transaction() as session:
        locked = chosen.order_by(Message.message_id).with_for_update(skip_locked=True)
        messages = session.scalars(locked).all()
        applying.apply(session, operator, _read(runtime.settings.operators, operator, messages))


def _put_aside(runtime: Runtime, message_id: UUID, error: Exception) -> None:
    """Puts one message aside, unless somebody else applied it meanwhile."""
    with runtime.transaction() as session:
        message = session.get_one(Message, message_id, with_for_update=True)
        if message.applied_at is None:
            _give_up(message, put_aside.describe(error))


def _read(settings: Mapping[str, str], operator: str, messages: Sequence[Message]) -> list[Event]:
    events: list[Event] = []
    for message in messages:
        try:
            events += lookup.connect(operator, settings).read(message.body)
            message.applied_at = clock.now()
        except (Unreadable, UnknownOperator, ConfigurationError) as error:
            _give_up(message, str(error))
    return events


def _give_up(message: Message, error: str) -> None:
    """Leaves a message unapplied, and notes why where people look."""
    message.applied_at, message.error = None, error
    logger().error("message_unreadable", operator=message.operator, webhook_id=message.webhook_id, error=error)
