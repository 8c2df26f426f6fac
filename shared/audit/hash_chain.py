"""The chain of the audit trail: each entry's hash is made of its content and of the hash before.

An entry gets its position and hash after it was committed, under an advisory lock, as events get theirs
(`shared.eventlog.log`): no transaction waits for another, and there are no gaps. A change of an entry, or its loss, is
seen by whoever computes the hashes again. Whoever may rewrite the table may of course write a whole new chain, or cut
off its end; that is seen against an anchor, a position and its hash kept where they cannot reach.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from shared.audit.trail import ENTRY
from shared.observability.logs import logger

# How many entries one chaining takes: it bounds the time for which the lock is held.
BATCH_SIZE = 2_000
# What an entry's hash is made of, in this order, after its position.
_CONTENT = (
    "sequence", "occurred_at", "role", "scope", "subject", "address", "request_id", "action",
    "object_kind", "object_id", "before", "after", "outcome",
)  # fmt: skip
_ROWS = sa.select(*(ENTRY.c[name] for name in ("position", "hash", *_CONTENT)))
_UNCHAINED = _ROWS.where(ENTRY.c.position.is_(None)).order_by(ENTRY.c.sequence).limit(BATCH_SIZE)
_ALL = _ROWS.where(ENTRY.c.position.is_not(None)).order_by(ENTRY.c.position)

_LOCK = sa.text("SELECT pg_advisory_xact_lock('audit_entry'::regclass::oid::bigint)")
_WAITING = sa.text("SELECT EXISTS (SELECT FROM audit_entry WHERE position IS NULL)")
_HEAD = sa.text("SELECT position, hash FROM audit_entry WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1")
_CHAIN = sa.text("""
    UPDATE audit_entry SET position = chained.position, hash = chained.hash
    FROM unnest(CAST(:sequences AS bigint[]), CAST(:positions AS bigint[]), CAST(:hashes AS bytea[]))
         AS chained (sequence, position, hash)
    WHERE audit_entry.sequence = chained.sequence
""")


@dataclass(frozen=True)
class Anchor:
    """A position of a service's chain and its hash there, in hexadecimal; position 0 is before the first entry."""

    service: str
    position: int
    hash: str

    def __str__(self) -> str:
        return f"{self.service}:{self.position}:{self.hash}"

    @classmethod
    def read(cls, text: str) -> "Anchor":
        """The anchor that was written as `service:position:hash`; raises ValueError."""
        service, position, digest = text.strip().split(":")
        return cls(service, int(position), bytes.fromhex(digest).hex())


class Broken(Exception):
    """The first entry that does not fit, in words."""


def start(service: str) -> bytes:
    """The hash before the first entry of a service's chain."""
    return hashlib.sha256(f"souche audit {service}".encode()).digest()


def chain(engine: sa.Engine, service: str) -> Anchor | None:
    """Chains what has been committed since and gives the head; None where there was nothing."""
    with engine.connect() as connection:
        waiting = connection.execute(_WAITING).scalar_one()
    anchor = None
    while waiting:
        with engine.begin() as connection:
            anchor, number = _chain_some(connection, service)
        waiting = number == BATCH_SIZE
    return anchor


def tend(engine: sa.Engine, service: str) -> None:
    """Chains what has been committed since, and writes the head to the log: logs are kept elsewhere."""
    anchor = chain(engine, service)
    if anchor is not None:
        logger().info("audit_anchor", anchor=str(anchor))


def _chain_some(connection: sa.Connection, service: str) -> tuple[Anchor, int]:
    connection.execute(_LOCK)
    position, last = _head(connection, service)
    rows = connection.execute(_UNCHAINED).mappings().all()
    hashes = []
    for at, row in enumerate(rows, position + 1):
        last = entry_hash(at, last, row)
        hashes.append(last)
    sequences = [row["sequence"] for row in rows]
    positions = [position + number for number in range(1, len(rows) + 1)]
    connection.execute(_CHAIN, {"sequences": sequences, "positions": positions, "hashes": hashes})
    return Anchor(service, position + len(rows), last.hex()), len(rows)


def _head(connection: sa.Connection, service: str) -> tuple[int, bytes]:
    row = connection.execute(_HEAD).one_or_none()
    return (row.position, bytes(row.hash)) if row else (0, start(service))


def entry_hash(position: int, previous: bytes, row: sa.RowMapping) -> bytes:
    """SHA-256 of the hash before and of the entry as JSON: an array of its position and content, keys sorted."""
    content = [position, *(_plain(row[name]) for name in _CONTENT)]
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(previous + text.encode()).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value if value is None or isinstance(value, (bool, int, float, str, dict, list)) else str(value)


def verify(engine: sa.Engine, service: str, anchors: Iterable[Anchor] = ()) -> Anchor:
    """Computes the whole chain again, as a stream, and gives its head.

    Raises Broken where an entry is not what it was, is missing, or where an anchor does not hold.
    """
    kept = {anchor.position: anchor.hash for anchor in anchors if anchor.service == service}
    with engine.connect() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        rows = connection.execution_options(yield_per=1_000).execute(_ALL).mappings()
        position, last = 0, start(service)
        for position, last in _walk(rows, start(service)):
            if kept.pop(position, last.hex()) != last.hex():
                raise Broken(f"entry {position} is not the one that the anchor was taken from")
    _check_rest(kept, position, start(service).hex())
    return Anchor(service, position, last.hex())


def _walk(rows: Iterable[sa.RowMapping], last: bytes) -> Iterator[tuple[int, bytes]]:
    for expected, row in enumerate(rows, 1):
        if row["position"] != expected:
            raise Broken(f"entry {expected} is missing")
        last = entry_hash(expected, last, row)
        if bytes(row["hash"]) != last:
            when = row["occurred_at"].isoformat()
            raise Broken(f"entry {expected} (sequence {row['sequence']}, {when}) is not as it was written")
        yield expected, last


def _check_rest(kept: Mapping[int, str], head: int, beginning: str) -> None:
    """Anchors beyond the head: the end of the chain was cut off."""
    for position, digest in sorted(kept.items()):
        if position > head:
            raise Broken(f"the chain ends at entry {head}, and there was an entry {position}: its end is missing")
        if digest != beginning:
            raise Broken(f"the anchor at position {position} is of another chain")
