"""Messages of operators: verified and stored as they came, answered at once, applied by a task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.inbound import applying
from services.operator_bridge.interface import Event, UnknownOperator, Unreadable
from services.operator_bridge.register.models import Message
from services.operator_bridge.workers import wakeups
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

_WAITING = (
    sa.select(Message)
    .where(Message.applied_at.is_(None), Message.error.is_(None))
    .order_by(Message.message_id)
    .limit(_BATCH_SIZE)
    .with_for_update(skip_locked=True)
)

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
    """Applies the messages that wait, oldest first, and returns their number. Unreadable ones are marked and left."""
    applied = 0
    while True:
        with runtime.transaction() as session:
            messages = session.scalars(_WAITING).all()
            for operator in sorted({message.operator for message in messages}):
                chosen = [message for message in messages if message.operator == operator]
                _apply(session, runtime.settings.operators, operator, chosen)
        applied += len(messages)
        if len(messages) < _BATCH_SIZE:
            return applied


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


def _apply(session: Session, settings: Mapping[str, str], operator: str, messages: Sequence[Message]) -> None:
    """Applies messages together, or each alone where one cannot be applied, so that it does not block the others."""
    try:
        with session.begin_nested():
            applying.apply(session, operator, _read(settings, operator, messages))
    except DataError as error:
        if len(messages) == 1:
            _give_up(messages[0], f"It cannot be stored: {type(error.orig).__name__}")
            return
        for message in messages:
            _apply(session, settings, operator, [message])


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
