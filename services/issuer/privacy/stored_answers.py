"""Kept answers to repeated requests, emptied when they have served: what a grant was asked for with may name a person.

Who repeats a request does so within minutes or days. After that its key still keeps it from being done twice, and is
told that the answer is gone.
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
    """Empties the kept answers that tell of any of these things, such as a grant; says how many.

    Answers are sealed, so each of the last days is opened and looked through.
    """
    wanted = [str(each).encode() for each in ids]
    ring = KeyRing(keys["CODE_ENCRYPTION_KEYS"])
    query = sa.select(KEPT.c.caller, KEPT.c.key, KEPT.c.body).where(_FULL)
    rows = session.execute(query.execution_options(yield_per=500))
    found = [(row.caller, row.key) for row in rows if any(each in _plain(ring, row.body, row.key) for each in wanted)]
    if found:
        session.execute(sa.update(KEPT).where(sa.tuple_(KEPT.c.caller, KEPT.c.key).in_(_pairs(found))).values(EMPTIED))
    return len(found)


def _plain(ring: KeyRing, body: bytes, key: str) -> bytes:
    """An answer, whether it was sealed or not: JSON begins with a bracket, a sealed value with a short length."""
    if body[:1] in (b"{", b"["):
        return body
    try:
        return ring.open(body, key.encode())
    except CannotOpen:
        return b""  # its key is gone, so nobody can read it any more


def _pairs(found: Collection[tuple[str, str]]) -> sa.Select[tuple[str, str]]:
    callers, keys = zip(*found, strict=True)
    arrays = sa.cast(list(callers), pg.ARRAY(sa.Text)), sa.cast(list(keys), pg.ARRAY(sa.Text))
    pairs = sa.func.unnest(*arrays).table_valued("caller", "key").render_derived()
    return sa.select(pairs.c.caller, pairs.c.key)
