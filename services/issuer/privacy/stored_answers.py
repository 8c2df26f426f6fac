"""Kept answers to repeated requests, emptied when they have served, as they may name a person.

A request is repeated within minutes or days. After that its key still keeps it from being done twice.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from shared.http.idempotency import EMPTIED, KEPT
from shared.process import slices
from shared.process.runtime import Runtime
from shared.values.encryption import CannotOpen, KeyRing

KEPT_FOR = timedelta(days=30)
"""How long an answer can be had again."""
BATCH_SIZE = 5_000
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_FULL = sa.func.octet_length(KEPT.c.body) > 0


def empty_old(runtime: Runtime, now: datetime, seconds: float = slices.SECONDS) -> int:
    """Number of answers that had been kept long enough and are empty now: the oldest, for about so many seconds."""
    old = sa.select(KEPT.c.caller, KEPT.c.key).where(_FULL, KEPT.c.created_at < now - KEPT_FOR)
    old = old.where(KEPT.c.created_at >= sa.bindparam("since")).order_by(KEPT.c.created_at).limit(BATCH_SIZE)
    statement = sa.update(KEPT).where(sa.tuple_(KEPT.c.caller, KEPT.c.key).in_(old)).values(EMPTIED)

    def empty_next(since: datetime) -> tuple[int, datetime | None]:
        with runtime.transaction() as session:
            emptied = session.scalars(statement.returning(KEPT.c.created_at), {"since": since}).all()
        return len(emptied), max(emptied) if len(emptied) == BATCH_SIZE else None

    return slices.run(empty_next, _BEGINNING, seconds)[0]


def empty_of(session: Session, keys: Mapping[str, Mapping[str, bytes]], ids: Collection[UUID]) -> int:
    """Empties the kept answers that name any of these ids, such as a grant's; returns their number.

    Answers are encrypted, so all of them are decrypted and searched.
    """
    wanted = [str(identifier).encode() for identifier in ids]
    ring = KeyRing(keys["CODE_ENCRYPTION_KEYS"])
    query = sa.select(KEPT.c.caller, KEPT.c.key, KEPT.c.body).where(_FULL).execution_options(yield_per=500)
    found = []
    for row in session.execute(query):
        plain = _plain(ring, row.body, row.key)
        if any(identifier in plain for identifier in wanted):
            found.append((row.caller, row.key))
    if found:
        arrays = [sa.cast(list(values), pg.ARRAY(sa.Text)) for values in zip(*found, strict=True)]
        pairs = sa.func.unnest(*arrays).table_valued("caller", "key").render_derived()
        named = sa.tuple_(KEPT.c.caller, KEPT.c.key).in_(sa.select(pairs.c.caller, pairs.c.key))
        session.execute(sa.update(KEPT).where(named).values(EMPTIED))
    return len(found)


def _plain(ring: KeyRing, body: bytes, key: str) -> bytes:
    """An answer, encrypted or not: JSON begins with a bracket, an encrypted value with a short length."""
    if body[:1] in (b"{", b"["):
        return body
    try:
        return ring.open(body, key.encode())
    except CannotOpen:
        return b""  # its key is gone, so nobody can read it any more
