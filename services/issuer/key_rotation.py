"""Rotating keys while everything runs: values encrypted or digested by earlier keys get the current ones, in batches.

A batch is one short transaction and writes a row only where it is still as it was read, so it neither waits for
requests nor undoes one. An interrupted rotation resumes: it looks for what is sealed with an earlier key, and stores
how far digests were published.
"""

from collections.abc import Iterator, Mapping
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
from shared.database import engine
from shared.eventlog import log
from shared.http.idempotency import KEPT
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.encryption import KeyRing

BATCH_SIZE = 1000
Keys = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class Sealed:
    """A column of encrypted values, its table's key, from which comes the context of a value, and the setting."""

    name: str
    key: Any
    column: Any
    setting: str


_CHEQUE, _BENEFICIARY, _REPLACED = Cheque.__table__.c, Beneficiary.__table__.c, ReplacedCheque.__table__.c
SEALED = (
    Sealed("codes", _CHEQUE.id, _CHEQUE.sealed_code, "CODE_ENCRYPTION_KEYS"),
    Sealed("identities", _BENEFICIARY.id, _BENEFICIARY.sealed_identity, "IDENTITY_ENCRYPTION_KEYS"),
    Sealed("replacements", _REPLACED.new_cheque_id, _REPLACED.sealed_code, "CODE_ENCRYPTION_KEYS"),
    # Stored answers with codes; the others are not encrypted and do not begin like that.
    Sealed("answers", KEPT.c.key, KEPT.c.body, "CODE_ENCRYPTION_KEYS"),
)
_BYTES = pg.ARRAY(sa.LargeBinary)


def reseal(runtime: Runtime, what: Sealed, batch: int = BATCH_SIZE) -> Iterator[int]:
    """Encrypts values of earlier keys with the current one; yields how many after each batch.

    Begins again until there is nothing to find: requests write meanwhile. Raises CannotOpen where a value was altered.
    """
    ring, after = KeyRing(runtime.settings.keys[what.setting]), None
    while ring.former:
        query = sa.select(what.key.label("key"), what.column.label("sealed")).where(_by_former(what, ring))
        query = query if after is None else query.where(what.key > after)
        with runtime.transaction() as session:
            rows = session.execute(query.order_by(what.key).limit(batch)).all()
            resealed = [(row.key, row.sealed, ring.reseal(bytes(row.sealed), _context(row.key))) for row in rows]
            moved = _write(session, what, resealed)
        if not rows and after is None:
            return
        after = rows[-1].key if rows else None
        yield moved


def count_former(session: Session, keys: Keys) -> dict[str, int]:
    """How many values of each kind are still encrypted with an earlier key of the ring."""
    return {
        what.name: session.scalars(
            sa.select(sa.func.count(what.key)).where(_by_former(what, KeyRing(keys[what.setting])))
        ).one()
        for what in SEALED
    }


def _context(key: UUID | str) -> bytes:
    return key.encode() if isinstance(key, str) else key.bytes


def _by_former(what: Sealed, ring: KeyRing) -> sa.ColumnElement[bool]:
    """Whether a value begins like a ciphertext of an earlier key of the ring."""
    prefix = sa.func.unnest(sa.cast(ring.former, _BYTES)).column_valued("prefix")
    begins = sa.func.substring(what.column, 1, sa.func.length(prefix)) == prefix
    return sa.exists(sa.select(prefix).where(begins))


def _write(session: Session, what: Sealed, rows: list[tuple[Any, bytes, bytes]]) -> int:
    """Writes what is still as it was read: key, old value, new value."""
    values = engine.arrays(("key", "old", "new"), rows)
    types = {"key": what.key.type, "old": sa.LargeBinary(), "new": sa.LargeBinary()}
    arrays = [sa.cast(values[name], pg.ARRAY(kind)) for name, kind in types.items()]
    columns = [sa.column(name, kind) for name, kind in types.items()]
    source = sa.func.unnest(*arrays).table_valued(*columns).render_derived(name="input")
    update = sa.update(what.key.table).values({what.column.key: source.c.new})
    written: Any = session.execute(update.where(what.key == source.c.key, what.column == source.c.old))
    return int(written.rowcount)


_PEOPLE = sa.select(Beneficiary).order_by(Beneficiary.id)
_REDIGEST = sa.text("""
    UPDATE beneficiary SET digest = input.new, digest_key = :key
    FROM unnest(CAST(:ids AS uuid[]), CAST(:old AS bytea[]), CAST(:new AS bytea[])) AS input (id, old, new)
    WHERE beneficiary.id = input.id AND beneficiary.digest = input.old
          AND NOT EXISTS (SELECT FROM beneficiary other WHERE other.digest = input.new)
""")


def redigest_people(runtime: Runtime, batch: int = BATCH_SIZE) -> Iterator[int]:
    """Replaces people's digests by the current key's; yields how many after each batch."""
    identities, after = Identities(runtime.settings.keys), UUID(int=0)
    while True:
        with runtime.transaction() as session:
            rows = session.scalars(_PEOPLE.where(Beneficiary.id > after).limit(batch)).all()
            digests = [(row.id, row.digest, identities.digest(identities.open(row))) for row in rows]
            arrays = engine.arrays(("ids", "old", "new"), [entry for entry in digests if entry[1] != entry[2]])
            moved: Any = session.execute(_REDIGEST, {**arrays, "key": identities.digest_key})
        if not rows:
            return
        after = rows[-1].id
        yield int(moved.rowcount)


def publish_digests(runtime: Runtime, batch: int = BATCH_SIZE, *, again: bool = False) -> Iterator[int]:
    """Publishes the digests of all codes by the current key; yields how many cheques after each event.

    Nothing is published for a key for which it ended before, unless `again`. Two at once take turns.
    """
    key_id = next(iter(runtime.settings.keys["CODE_DIGEST_KEY"]))
    with runtime.transaction() as session:
        progress = session.get(DigestRotation, key_id, with_for_update=True)
        if progress is None:
            session.add(DigestRotation(key_id=key_id, cheques=0))
        elif again:
            progress.after = progress.finished_at = None
    while published := _publish_next(runtime, key_id, min(batch, BATCH_SIZE)):
        yield published


def _publish_next(runtime: Runtime, key_id: str, batch: int) -> int:
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
