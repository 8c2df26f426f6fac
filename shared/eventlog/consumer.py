"""Reading another service's log: exactly-once effect, in order.

A page is applied and the cursor moved in one transaction. Of two readers of one log the second finds the cursor moved
and drops its page. An event that was applied is remembered by its id, so a log that is read again from the start (a
new epoch) changes nothing; when old ids are deleted (`shared.process.table_retention`), the cursor says before when
all was applied. Logs come in any relative order: an event about an unknown cheque is parked until the cheque comes.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from shared.database import engine
from shared.eventlog import event_kinds, log
from shared.eventlog.log import Event
from shared.eventlog.peer_client import Peer
from shared.observability import logs, tracing

Handler = Callable[[Session, Sequence[Any]], Any]
Transaction = Callable[[], Any]

PAGE_SIZE = 500
PAGE_END = "page end"
"""The key of a handler that comes after those of a page's events, with what they returned."""
# Collectors of logs cut lines that are longer than 16 kB.
_KEYS_PER_LINE = 100
_NEVER = datetime(1, 1, 1, tzinfo=UTC)

CURSOR = sa.Table(
    "cursor",
    log.TABLES,
    sa.Column("publisher", sa.Text, primary_key=True),
    sa.Column("epoch", sa.Uuid, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    # All that happened before was applied, and is not remembered by its id any more.
    sa.Column("forgotten_before", sa.DateTime(timezone=True)),
)

APPLIED = sa.Table(
    "applied_event",
    log.TABLES,
    sa.Column("event_id", sa.Uuid, primary_key=True),
    sa.Column("publisher", sa.Text, nullable=False),
    sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")),
    sa.Index("applied_event_applied_at_idx", "applied_at", postgresql_using="brin"),
)

PARKED = sa.Table(
    "parked_event",
    log.TABLES,
    sa.Column("cheque_id", sa.Uuid, primary_key=True),
    sa.Column("event_id", sa.Uuid, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("body", pg.JSONB, nullable=False),
    sa.Column("request_id", sa.Text),
)
_PARKED = [column.name for column in PARKED.c if column.name != "cheque_id"]

_REMEMBER = sa.text("""
    INSERT INTO applied_event (event_id, publisher, occurred_at)
    SELECT event_id, :publisher, occurred_at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS input (event_id, occurred_at)
    ON CONFLICT DO NOTHING RETURNING event_id
""")


class NewerVersion(Exception):
    """A log has an event of a version that a later release of this service reads; nothing after it was applied."""


class FeedPage(msgspec.Struct, frozen=True):
    """A page of another service's feed; bodies become structs where they are new and of a kind that is handled."""

    epoch: UUID
    head: int
    events: Sequence[Event[Any]]


def pull(transaction: Transaction, peer: Peer, handlers: Mapping[str, Handler]) -> int:
    """Reads a peer's log to its end and applies it; returns how many events took effect.

    `transaction` opens a transaction of the reader; none is open while the peer is asked. Raises NewerVersion at an
    event that this release cannot read, once the events before it are applied.
    """
    applied = 0
    while True:
        with transaction() as session:
            epoch, position = _cursor(session, peer.name)
        page = msgspec.convert(peer.get("/v1/events", after=position, limit=PAGE_SIZE), FeedPage)
        if page.epoch != epoch or page.head < position:
            _start_again(transaction, peer.name, epoch, page.epoch)
        elif not page.events:
            return applied
        else:
            readable = list(itertools.takewhile(lambda entry: entry.version <= event_kinds.VERSION, page.events))
            if not readable:
                newer = page.events[0]
                raise NewerVersion(
                    f"{peer.name}: event {newer.position} ({newer.kind}) is of version {newer.version}, this release"
                    f" reads up to {event_kinds.VERSION}: upgrade this service, and it goes on from there."
                )
            applied += _apply(transaction, peer.name, page.epoch, position, readable, handlers)
            if readable[-1].position == page.head:
                return applied


def _apply(
    transaction: Transaction,
    publisher: str,
    epoch: UUID,
    position: int,
    entries: Sequence[Event[Any]],
    handlers: Mapping[str, Handler],
) -> int:
    with transaction() as session:
        moved = _move(session, publisher, epoch, position, entries[-1].position)
        if moved is None:
            return 0
        forgotten_before = moved.forgotten_before or _NEVER
        handled = [entry for entry in entries if entry.kind in handlers and entry.occurred_at >= forgotten_before]
        fresh = _remember(session, publisher, handled)
        read = [_with_struct(entry) for entry in handled if entry.event_id in fresh]
        run_handlers(session, read, handlers)
    _log_applied(publisher, read)
    return len(fresh)


def run_handlers(session: Session, read: Iterable[Event[Any]], handlers: Mapping[str, Handler]) -> None:
    """Hands each run of consecutive events of one kind to its handler, under the id of their request if it is one."""
    results = []
    for kind, grouped in itertools.groupby(read, key=lambda event: event.kind):
        run = list(grouped)
        causes = {event.request_id for event in run}
        requests, keys = logs.ids(causes), logs.ids(event.key for event in run)
        with (
            logs.caused_by(causes.pop() if len(causes) == 1 else None),
            tracing.span(f"apply {kind}", events=len(run), keys=keys, request_ids=requests),
        ):
            results.append(handlers[kind](session, run))
    if PAGE_END in handlers:
        handlers[PAGE_END](session, results)


def _log_applied(publisher: str, applied: Sequence[Event[Any]]) -> None:
    for kind in dict.fromkeys(event.kind for event in applied):
        alike = [event for event in applied if event.kind == kind]
        for start in range(0, len(alike), _KEYS_PER_LINE):
            some = alike[start : start + _KEYS_PER_LINE]
            keys, requests = logs.ids(event.key for event in some), logs.ids(event.request_id for event in some)
            logs.logger().info(
                "news_applied", publisher=publisher, kind=kind, events=len(some), keys=keys, request_ids=requests
            )


def park(session: Session, cheque_id: UUID, event: Event[Any]) -> None:
    """Keeps an event until its cheque comes; `unpark` returns it."""
    body = sa.cast(sa.literal(event_kinds.encode(event.body), sa.Text), pg.JSONB)
    row = {name: getattr(event, name) for name in _PARKED} | {"cheque_id": cheque_id, "body": body}
    session.execute(pg.insert(PARKED).values(row).on_conflict_do_nothing())


def unpark(session: Session, cheque_ids: Sequence[UUID]) -> list[Event[Any]]:
    """Takes the events that waited for these cheques, in the order of their log."""
    columns = [PARKED.c[name] for name in _PARKED]
    parked = PARKED.delete().where(engine.among(PARKED.c.cheque_id, cheque_ids)).returning(*columns)
    events = [_with_struct(Event(**row)) for row in session.execute(parked).mappings()]
    return sorted(events, key=lambda event: event.position)


def _with_struct(entry: Event[Any]) -> Event[Any]:
    return msgspec.structs.replace(entry, body=event_kinds.load(entry.kind, entry.body))


def _cursor(session: Session, publisher: str) -> tuple[UUID | None, int]:
    row = session.execute(sa.select(CURSOR).where(CURSOR.c.publisher == publisher)).one_or_none()
    return (row.epoch, row.position) if row else (None, 0)


def _move(session: Session, publisher: str, epoch: UUID, position: int, to: int) -> sa.Row[Any] | None:
    """Moves the cursor if it is where the page began; the row stays locked until the page is applied."""
    here = (CURSOR.c.publisher == publisher) & (CURSOR.c.epoch == epoch) & (CURSOR.c.position == position)
    moved = CURSOR.update().where(here).values(position=to).returning(CURSOR.c.forgotten_before)
    return session.execute(moved).one_or_none()


def _start_again(transaction: Transaction, publisher: str, earlier: UUID | None, epoch: UUID) -> None:
    """Points the cursor at the start of a log that is new to us, or that was restored since."""
    fresh = pg.insert(CURSOR).values(publisher=publisher, epoch=epoch, position=0)
    statement = fresh.on_conflict_do_update(
        index_elements=["publisher"],
        set_={"epoch": epoch, "position": 0},
        where=CURSOR.c.epoch.is_not_distinct_from(earlier),
    )
    with transaction() as session:
        session.execute(statement)
    if earlier is not None:
        logs.logger().warning("log_restored", publisher=publisher, effect="read again from the start")


def _remember(session: Session, publisher: str, entries: Sequence[Event[Any]]) -> set[UUID]:
    """Records events as applied; returns the ids of those that were not before."""
    if not entries:
        return set()
    ids, times = [entry.event_id for entry in entries], [entry.occurred_at for entry in entries]
    return set(session.scalars(_REMEMBER, {"publisher": publisher, "ids": ids, "times": times}))
