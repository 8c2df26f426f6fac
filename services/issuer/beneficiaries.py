"""Beneficiaries: known again without being told apart by anybody else.

Identity is in one table, sealed. A person is recognised by a keyed digest of the normalised names and the day of
birth; neither ever leaves this service.
"""

import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.models import Beneficiary, Grant
from shared.ids import new_id
from shared.sealing import KeyRing

# Letters that Unicode does not take apart.
_WHOLE = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})

# A person whom a process without the new key wrote down anew in the meantime keeps both rows.
_REDIGEST = sa.text("""
    UPDATE beneficiary SET digest = given.new
    FROM unnest(CAST(:old AS bytea[]), CAST(:new AS bytea[])) AS given (old, new)
    WHERE digest = given.old AND NOT EXISTS (SELECT FROM beneficiary other WHERE other.digest = given.new)
""")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a grant is for; `repr` shows nothing of it."""

    family_name: str = field(repr=False)
    given_name: str = field(repr=False)
    birth_date: date = field(repr=False)


@dataclass(slots=True)
class Known:
    """A person's row, and how many grants they had before."""

    id: UUID
    previous_grants: int

    def count(self) -> int:
        """Counts one grant more, and says how many there were before it."""
        self.previous_grants += 1
        return self.previous_grants - 1


class Identities:
    """Seals identities and makes the digests by which they are recognised."""

    def __init__(self, keys: Mapping[str, Mapping[str, bytes]]) -> None:
        self._ring = KeyRing(keys["IDENTITY_ENCRYPTION_KEYS"])
        self._digest_keys = tuple(keys["IDENTITY_DIGEST_KEY"].values())

    def digest(self, identity: Identity) -> bytes:
        """HMAC-SHA-256 of the normalised names and the day of birth, by the current key."""
        return self.digests(identity)[0]

    def digests(self, identity: Identity) -> tuple[bytes, ...]:
        """The same by every key that is accepted, the current one first: a row may still have an earlier one's."""
        names = (normalised(identity.family_name), normalised(identity.given_name))
        text = "\n".join((*names, identity.birth_date.isoformat()))
        return tuple(hmac.digest(key, text.encode(), hashlib.sha256) for key in self._digest_keys)

    def open(self, beneficiary_id: UUID, sealed: bytes) -> Identity:
        """Who a sealed identity is; raises CannotOpen."""
        plain = json.loads(self._ring.open(sealed, beneficiary_id.bytes))
        return Identity(**plain | {"birth_date": date.fromisoformat(plain["birth_date"])})

    def remember(self, session: Session, people: Iterable[Identity | None]) -> dict[Identity | None, Known]:
        """The rows of these people, made where they are new and locked, so that their grants are counted one by one."""
        digests = {identity: self.digest(identity) for identity in people if identity}
        if not digests:
            return {}
        distinct = {digest: identity for identity, digest in digests.items()}
        self._bring_forward(session, distinct)
        rows = [self._row(distinct[digest], digest) for digest in sorted(distinct)]  # in order: no two wait crosswise
        insert = pg.insert(Beneficiary)
        upsert = insert.on_conflict_do_update(index_elements=["digest"], set_={"last_granted_at": sa.func.now()})
        found = session.execute(upsert.returning(Beneficiary.digest, Beneficiary.id), rows).all()
        earlier = _grants_of(session, [row.id for row in found])
        known = {row.digest: Known(row.id, earlier.get(row.id, 0)) for row in found}
        return {identity: known[digest] for identity, digest in digests.items()}

    def _bring_forward(self, session: Session, people: Mapping[bytes, Identity]) -> None:
        """Gives those of these people who are known by an earlier key their current digest, while keys are rotated."""
        former = {old: current for current, person in people.items() for old in self.digests(person)[1:]}
        if former:
            found = sa.select(Beneficiary.digest).where(Beneficiary.digest.in_(former)).order_by(Beneficiary.digest)
            held = session.scalars(found.with_for_update()).all()
            session.execute(_REDIGEST, {"old": list(held), "new": [former[bytes(digest)] for digest in held]})

    def _row(self, identity: Identity, digest: bytes) -> dict[str, object]:
        beneficiary_id = new_id()
        plain = {
            "family_name": identity.family_name,
            "given_name": identity.given_name,
            "birth_date": identity.birth_date.isoformat(),
        }
        sealed = self._ring.seal(json.dumps(plain, ensure_ascii=False).encode(), beneficiary_id.bytes)
        return {"id": beneficiary_id, "digest": digest, "sealed_identity": sealed}


def normalised(name: str) -> str:
    """A name as it is compared: without accents, case, hyphens and apostrophes, its words one space apart."""
    plain = unicodedata.normalize("NFKD", name.casefold().translate(_WHOLE))
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    return " ".join(re.findall(r"\w+", letters))


def _grants_of(session: Session, beneficiary_ids: list[UUID]) -> dict[UUID, int]:
    query = (
        sa.select(Grant.beneficiary_id, sa.func.count())
        .where(Grant.beneficiary_id.in_(beneficiary_ids))
        .group_by(Grant.beneficiary_id)
    )
    return {beneficiary_id: count for beneficiary_id, count in session.execute(query) if beneficiary_id}
