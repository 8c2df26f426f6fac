"""Identities of beneficiaries: encrypted, and recognised by a keyed digest.

Names and days of birth can be guessed by the million, so the digest of the two is keyed: without the key no list of
names finds anybody. The key is rotated with two keys configured, the new one first. Each row says which key made its
digest. People are looked for under all keys, and get a digest by the first at their next grant.
"""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.people.models import Beneficiary
from shared.values.encryption import KeyRing
from shared.values.ids import new_id

# Letters that Unicode does not take apart.
_WHOLE = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})

_LOCK_PEOPLE = sa.text("SELECT pg_advisory_xact_lock(person) FROM unnest(CAST(:people AS bigint[])) AS person")

_RENEW_DIGESTS = sa.text("""
    UPDATE beneficiary SET digest = input.current, digest_key = :key
    FROM unnest(CAST(:formers AS bytea[]), CAST(:currents AS bytea[])) AS input (former, current)
    WHERE digest = input.former AND NOT EXISTS (SELECT FROM beneficiary AS other WHERE other.digest = input.current)
""")


@dataclass(frozen=True, slots=True)
class Identity:
    """The names and day of birth of a beneficiary; `repr` hides them."""

    family_name: str = field(repr=False)
    given_name: str = field(repr=False)
    birth_date: date = field(repr=False)


class Identities:
    """Encrypts identities and makes the digests by which they are recognised."""

    def __init__(self, keys: Mapping[str, Mapping[str, bytes]]) -> None:
        self._ring = KeyRing(keys["IDENTITY_ENCRYPTION_KEYS"])
        self._digest_keys = dict(keys["IDENTITY_DIGEST_KEY"])
        self.digest_key = next(iter(self._digest_keys))
        """The id of the key that digests are made with."""

    def digest(self, identity: Identity) -> bytes:
        """HMAC-SHA-256 of the normalised names and the day of birth, with the current key."""
        return self.digests(identity)[0]

    def digests(self, identity: Identity) -> list[bytes]:
        """The digests by every configured key, the current one first."""
        names = (normalised(identity.family_name), normalised(identity.given_name))
        return self._keyed("\n".join((*names, identity.birth_date.isoformat())))

    def stand_ins(self, prescriber_id: UUID, reference: str) -> list[str]:
        """The stand-ins for the reference of a grant whose person was erased, by every key, the current one first.

        A reference may name the person. A stand-in does not, yet a repeat of the request is still recognised.
        """
        return [f"erased:{digest.hex()}" for digest in self._keyed(f"reference\n{prescriber_id}\n{reference}")]

    def open(self, person: Beneficiary) -> Identity:
        """The identity in a row; raises CannotOpen where its key is missing or it was altered."""
        return msgspec.json.decode(self._ring.open(person.sealed_identity, person.id.bytes), type=Identity)

    def _keyed(self, text: str) -> list[bytes]:
        return [hmac.digest(key, text.encode(), hashlib.sha256) for key in self._digest_keys.values()]

    def by_digest(self, session: Session, identity: Identity) -> UUID | None:
        """The id of a person's row, if there is one; nothing is added or locked."""
        return next(iter(self.rows_of(session, [identity])), None)

    def rows_of(self, session: Session, people: Iterable[Identity]) -> list[UUID]:
        """The ids of these people's rows; people without a row are left out."""
        digests = [digest for identity in people for digest in self.digests(identity)]
        recognised = Beneficiary.digest == sa.any_(sa.cast(digests, pg.ARRAY(sa.LargeBinary)))
        return list(session.scalars(sa.select(Beneficiary.id).where(recognised)))

    def renew_digests(self, session: Session, people: Iterable[Identity]) -> None:
        """Replaces the digests of these people by the current key's, where a former key made them.

        While there are several keys it locks the people until the transaction ends: a process that still prefers
        another key must not add them a second time.
        """
        if len(self._digest_keys) == 1:
            return
        digests_by_person = [self.digests(identity) for identity in people]
        locks = {int.from_bytes(min(digests)[:8], "big", signed=True) for digests in digests_by_person}
        session.execute(_LOCK_PEOPLE, {"people": sorted(locks)})
        pairs = [(former, digests[0]) for digests in digests_by_person for former in digests[1:]]
        formers, currents = map(list, zip(*sorted(pairs), strict=True))
        session.execute(_RENEW_DIGESTS, {"formers": formers, "currents": currents, "key": self.digest_key})

    def rename(self, person: Beneficiary, identity: Identity) -> None:
        """Gives a row another identity."""
        person.digest, person.digest_key = self.digest(identity), self.digest_key
        person.sealed_identity = self._seal(identity, person.id)

    def new_row(self, identity: Identity, digest: bytes) -> dict[str, object]:
        """The columns of a new beneficiary, with the identity encrypted."""
        beneficiary_id = new_id()
        sealed = self._seal(identity, beneficiary_id)
        return {"id": beneficiary_id, "digest": digest, "digest_key": self.digest_key, "sealed_identity": sealed}

    def _seal(self, identity: Identity, beneficiary_id: UUID) -> bytes:
        return self._ring.seal(msgspec.json.encode(identity), beneficiary_id.bytes)


def normalised(name: str) -> str:
    """A name for comparison: without accents, case, hyphens and apostrophes, its words one space apart."""
    plain = unicodedata.normalize("NFKD", name.casefold().translate(_WHOLE))
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    return " ".join(re.findall(r"\w+", letters))
