"""The event log of a service: the truth that its queue only points at.

An event is appended in the transaction of its change, and gets its position after that transaction committed, under an
advisory lock: one that commits late gets a late position, and none is ever skipped. Positions follow the sequence
numbers, so the order of one cheque's events is kept: whoever waited for its row's lock appended later.

A log restored from a dump, or rewound, assigns positions again. It detects this by the identity of cluster, database,
table and timeline, and sets a new epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Self, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from shared.database import engine as db
from shared.eventlog import event_kinds
from shared.eventlog.event_kinds import Body
from shared.observability.logs import current_request_id
from shared.values import clock
from shared.values.ids import new_id

TABLES = db.metadata()

EVENT = sa.Table(
    "event",
    TABLES,
    sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("position", sa.BigInteger, unique=True),
    sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("version", sa.SmallInteger, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("body", pg.JSONB, nullable=False),
    sa.Index("event_unnumbered_idx", "sequence", postgresql_where=sa.text("position IS NULL")),
)

EPOCH = sa.Table(
    "feed_epoch",
    TABLES,
    sa.Column(
        "single", sa.Boolean, sa.CheckConstraint("single", name="single"), primary_key=True, server_default=sa.true()
    ),
    sa.Column("epoch", sa.Uuid, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
)

_APPEND = sa.text("""
    INSERT INTO event (event_id, kind, version, key, occurred_at, request_id, body)
    SELECT event_id, :kind, :version, key, :occurred_at, :request_id, body
    FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[]), CAST(:bodies AS jsonb[]))
         WITH ORDINALITY AS input (event_id, key, body, place)
    ORDER BY place
""")

# It bounds the time for which the lock is held.
_BATCH_SIZE = 5_000

# By the table's own identity, so services that share a database do not wait for each other.
_LOCK = sa.text("SELECT pg_advisory_xact_lock('event'::regclass::oid::bigint)")

_UNNUMBERED = sa.text("SELECT EXISTS (SELECT FROM event WHERE position IS NULL)")

_NUMBER = sa.text("""
    WITH head AS (SELECT coalesce(max(position), 0) AS position FROM event),
         fresh AS (
            SELECT sequence, row_number() OVER (ORDER BY sequence) AS rank
            FROM (SELECT sequence FROM event WHERE position IS NULL ORDER BY sequence LIMIT :limit) waiting
         )
    UPDATE event SET position = head.position + fresh.rank
    FROM head, fresh WHERE event.sequence = fresh.sequence
""")

# What a dump restored elsewhere, a table made again or a rewound cluster cannot have in common with the original.
_FINGERPRINT: sa.ColumnElement[str] = sa.literal_column("""
    (SELECT system_identifier FROM pg_control_system()) || '/' ||
    (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' ||
    'event'::regclass::oid || '/' ||
    (SELECT timeline_id FROM pg_control_checkpoint())
""")
_SAME_EPOCH = sa.select(EPOCH.c.epoch).where(EPOCH.c.fingerprint == _FINGERPRINT)
_OTHER_EPOCH = sa.select(sa.exists().where(EPOCH.c.fingerprint != _FINGERPRINT))
_HEAD = sa.select(sa.func.coalesce(sa.func.max(EVENT.c.position), 0)).scalar_subquery()
_MINTED = pg.insert(EPOCH).values(epoch=sa.bindparam("epoch"), fingerprint=_FINGERPRINT)
_NEW_EPOCH = _MINTED.on_conflict_do_update(
    index_elements=["single"],
    set_={"epoch": _MINTED.excluded.epoch, "fingerprint": _MINTED.excluded.fingerprint},
    where=EPOCH.c.fingerprint != _MINTED.excluded.fingerprint,
)

# PostgreSQL writes the JSON: no entry goes through Python objects and a schema into text again.
_PAGE = sa.text("""
    SELECT row_to_json(entry)::text FROM (
        SELECT position, event_id, kind, version, key, occurred_at, request_id, body
        FROM event WHERE position > :after ORDER BY position LIMIT :limit
    ) entry
""")


_Body_co = TypeVar("_Body_co", bound=Body, covariant=True)


class Event(msgspec.Struct, Generic[_Body_co], frozen=True):
    """One entry of a service's log as a reader gets it, with the struct of its kind as body."""

    event_id: UUID
    kind: str
    key: str
    occurred_at: datetime
    body: _Body_co
    position: int = 0
    request_id: str | None = None
    version: int = event_kinds.VERSION

    def narrowed(self, **members: Any) -> Self:
        """The same event with other values for some members of its body."""
        return msgspec.structs.replace(self, body=msgspec.structs.replace(self.body, **members))


@dataclass(frozen=True)
class Page:
    """Some entries of a log as JSON objects, oldest first; the log's epoch and its last position."""

    epoch: UUID
    head: int
    events: Sequence[str]

    def json(self) -> str:
        """The page as JSON text."""
        return f'{{"epoch":"{self.epoch}","head":{self.head},"events":[{",".join(self.events)}]}}'


def append(session: Session, kind: str, key: object, body: object) -> UUID:
    """Appends an event in the caller's transaction, after the rows of its change were written; returns its id.

    The body is a mapping or an object with the members of its kind. Raises msgspec's ValidationError.
    """
    return append_many(session, kind, [(key, body)])[0]


def append_many(session: Session, kind: str, entries: Sequence[tuple[object, object]]) -> list[UUID]:
    """Appends several events of one kind, in their order, by one statement."""
    session.flush()
    ids = [new_id() for _ in entries]
    if entries:
        params = {
            "ids": ids,
            "keys": [str(key) for key, _ in entries],
            "bodies": [event_kinds.encode(event_kinds.load(kind, body)) for _, body in entries],
            "kind": kind,
            "version": event_kinds.VERSION,
            "occurred_at": clock.now(),
            "request_id": current_request_id(),
        }
        session.execute(_APPEND, params)
        announce(session)
    return ids


def announce(session: Session) -> None:
    """Rings the doorbell after this transaction commits; for callers whose own SQL appended events."""
    session.info["appended_events"] = True


def page(engine: sa.Engine, after: int, limit: int) -> Page:
    """The entries after a position. Numbers what has committed since, and commits that, before it reads."""
    _number(engine)
    with engine.connect() as connection:
        epoch, head = connection.execute(_SAME_EPOCH.add_columns(_HEAD)).one()
        return Page(epoch, head, connection.execute(_PAGE, {"after": after, "limit": limit}).scalars().all())


def is_restored(engine: sa.Engine) -> bool:
    """Whether this log was restored from a backup, rewound or failed over, and has not named its new epoch yet."""
    with engine.connect() as connection:
        return bool(connection.execute(_OTHER_EPOCH).scalar_one())


def _number(engine: sa.Engine) -> None:
    """Numbers the events that are visible and have no position; names a new epoch where the log was restored."""
    with engine.connect() as connection:
        same, waiting = connection.execute(_SAME_EPOCH).scalar(), connection.execute(_UNNUMBERED).scalar_one()
    while waiting or same is None:
        with engine.begin() as connection:
            connection.execute(_LOCK)
            connection.execute(_NEW_EPOCH, {"epoch": new_id()})
            numbered = connection.execute(_NUMBER, {"limit": _BATCH_SIZE}).rowcount
        waiting, same = numbered == _BATCH_SIZE, True
