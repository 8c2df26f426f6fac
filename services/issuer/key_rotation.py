"""Rotating keys while everything runs: what earlier keys sealed or digested is moved to the current ones, in batches.

A batch is one short transaction and writes a row only where it is still as it was read, so it neither waits for
requests nor undoes one. Broken off, it is taken up where it was: what is sealed with the current key needs nothing
more, and how far digests were told is written down.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import Cheque, DigestRotation, ReplacedCheque
from services.issuer.people.identities import Identities
from services.issuer.people.models import Beneficiary
from services.issuer.tables import Base
from shared.eventlog import log
from shared.http.idempotency import KEPT
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.encryption import KeyRing

BATCH = 1000
Keys = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class Sealed:
    """A column of sealed values, its table's key, the value's context in terms of that key, and the setting."""

    name: str
    key: sa.Column[Any]
    column: sa.Column[bytes]
    setting: str
    context: Callable[[Any], bytes]


def _sealed(name: str, model: type[Base], key: str, column: str, setting: str) -> Sealed:
    columns: Any = model.__table__.c
    return Sealed(name, columns[key], columns[column], setting, lambda identifier: identifier.bytes)


SEALED = (
    _sealed("codes", Cheque, "id", "sealed_code", "CODE_ENCRYPTION_KEYS"),
    _sealed("identities", Beneficiary, "id", "sealed_identity", "IDENTITY_ENCRYPTION_KEYS"),
    _sealed("replacements", ReplacedCheque, "new_cheque_id", "sealed_code", "CODE_ENCRYPTION_KEYS"),
    # Kept answers with codes in them; the others are not sealed and do not begin like that.
    Sealed("answers", KEPT.c.key, KEPT.c.body, "CODE_ENCRYPTION_KEYS", str.encode),
)
_BYTES = pg.ARRAY(sa.LargeBinary)


def reseal(runtime: Runtime, what: Sealed, batch: int = BATCH) -> Iterator[int]:
    """Seals with the current key what an earlier one sealed; yields how many after each batch.

    Begins again until there is nothing to find: requests write meanwhile. Raises CannotOpen where a value was altered.
    """
    ring, after = KeyRing(runtime.settings.keys[what.setting]), None
    while ring.former:
        with runtime.transaction() as session:
            rows = _former(session, what, ring, after, batch)
            moved = _write(session, what, [(row.key, row.sealed, _resealed(what, ring, row)) for row in rows])
        if not rows and after is None:
            return
        after = rows[-1].key if rows else None
        yield moved


def left(session: Session, keys: Keys) -> dict[str, int]:
    """How many values of each kind are still sealed with an earlier key that is in the ring."""
    return {what.name: _count(session, what, KeyRing(keys[what.setting])) for what in SEALED}


def _resealed(what: Sealed, ring: KeyRing, row: Any) -> bytes:
    return ring.reseal(bytes(row.sealed), what.context(row.key))


def _count(session: Session, what: Sealed, ring: KeyRing) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(what.key.table).where(_by_former(what, ring))) or 0


def _former(session: Session, what: Sealed, ring: KeyRing, after: Any, batch: int) -> list[Any]:
    query = sa.select(what.key.label("key"), what.column.label("sealed")).where(_by_former(what, ring))
    later = query if after is None else query.where(what.key > after)
    return list(session.execute(later.order_by(what.key).limit(batch)).all())


def _by_former(what: Sealed, ring: KeyRing) -> sa.ColumnElement[bool]:
    """Whether a value begins as what an earlier key of the ring sealed."""
    prefix = sa.func.unnest(sa.cast(ring.former, _BYTES)).column_valued("prefix")
    begins = sa.func.substring(what.column, 1, sa.func.length(prefix)) == prefix
    return sa.exists(sa.select(prefix).where(begins))


def _write(session: Session, what: Sealed, rows: list[tuple[Any, bytes, bytes]]) -> int:
    """Writes what is still as it was read."""
    keys, old, new = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
    given = (
        sa.func.unnest(sa.cast(keys, pg.ARRAY(what.key.type)), sa.cast(old, _BYTES), sa.cast(new, _BYTES))
        .table_valued(
            sa.column("key", what.key.type), sa.column("old", sa.LargeBinary), sa.column("new", sa.LargeBinary)
        )
        .render_derived(name="given")
    )
    same = (what.key == given.c.key, what.column == given.c.old)
    written: Any = session.execute(sa.update(what.key.table).values({what.column.key: given.c.new}).where(*same))
    return int(written.rowcount)


_PEOPLE = sa.select(Beneficiary).order_by(Beneficiary.id)
_REDIGEST = sa.text("""
    UPDATE beneficiary SET digest = given.new, digest_key = :key
    FROM unnest(CAST(:ids AS uuid[]), CAST(:old AS bytea[]), CAST(:new AS bytea[])) AS given (id, old, new)
    WHERE beneficiary.id = given.id AND beneficiary.digest = given.old
          AND NOT EXISTS (SELECT FROM beneficiary other WHERE other.digest = given.new)
""")


def redigest_people(runtime: Runtime, batch: int = BATCH) -> Iterator[int]:
    """Has people known by the current key's digest; yields how many after each batch."""
    identities, after = Identities(runtime.settings.keys), UUID(int=0)
    while True:
        with runtime.transaction() as session:
            rows = session.scalars(_PEOPLE.where(Beneficiary.id > after).limit(batch)).all()
            known = [(row.id, row.digest, identities.digest(identities.open(row))) for row in rows]
            wrong = [entry for entry in known if entry[1] != entry[2]]
            ids, old, new = map(list, zip(*wrong, strict=True)) if wrong else ([], [], [])
            moved: Any = session.execute(_REDIGEST, {"ids": ids, "old": old, "new": new, "key": identities.digest_key})
        if not rows:
            return
        after = rows[-1].id
        yield int(moved.rowcount)


def tell_digests(runtime: Runtime, batch: int = BATCH, *, again: bool = False) -> Iterator[int]:
    """Tells the redeemer the digests of all codes by the current key; yields how many cheques after each event.

    Where it ended before for that key nothing is told, unless `again`. Two at once take turns.
    """
    key_id = next(iter(runtime.settings.keys["CODE_DIGEST_KEY"]))
    with runtime.transaction() as session:
        known = session.get(DigestRotation, key_id, with_for_update=True)
        if known is None:
            session.add(DigestRotation(key_id=key_id, cheques=0))
        elif again:
            known.after = known.finished_at = None
    while told := _tell(runtime, key_id, min(batch, BATCH)):
        yield told


def _tell(runtime: Runtime, key_id: str, batch: int) -> int:
    codes = Codes(runtime.settings.keys)
    with runtime.transaction() as session:
        progress = session.get_one(DigestRotation, key_id, with_for_update=True)
        if progress.finished_at is not None:
            return 0
        query = sa.select(Cheque.id, Cheque.sealed_code).order_by(Cheque.id).limit(batch)
        rows = session.execute(query.where(Cheque.id > progress.after) if progress.after else query).all()
        if not rows:
            progress.finished_at = clock.now()
            return 0
        cheques = [{"cheque_id": row.id, "digest": codes.digest(row.id, row.sealed_code)} for row in rows]
        log.append(session, "cheques.redigested", key_id, {"cheques": cheques})
        progress.after, progress.cheques = rows[-1].id, progress.cheques + len(rows)
        return len(rows)
