"""Codes of cheques: generated here, stored encrypted, shown only for printing or for registration with an operator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque
from shared.database import engine
from shared.values import cheque_code
from shared.values.encryption import KeyRing
from shared.values.ids import new_id


@dataclass(frozen=True, slots=True)
class Revealed:
    """A cheque and its printed code, which `repr` does not show."""

    cheque_id: UUID
    code: str = field(repr=False)
    value_cents: int
    envelope_id: UUID
    state: str


@dataclass(frozen=True, slots=True)
class Minted(Revealed):
    """A new cheque, its code's digest in hexadecimal, and its encrypted code."""

    digest: str
    sealed_code: bytes = field(repr=False)


class Codes:
    """Generates codes and decrypts stored ones; each is encrypted with its cheque's id as associated data."""

    def __init__(self, keys: Mapping[str, Mapping[str, bytes]]) -> None:
        self._ring = KeyRing(keys["CODE_ENCRYPTION_KEYS"])
        self._digest_key = next(iter(keys["CODE_DIGEST_KEY"].values()))

    def mint(self, value_cents: int, envelope_id: UUID, state: str) -> Minted:
        """A new cheque with a code that nobody can guess."""
        cheque_id, code = new_id(), cheque_code.generate()
        digest = cheque_code.digest(code, self._digest_key).hex()
        sealed = self._ring.seal(code.encode(), cheque_id.bytes)
        return Minted(cheque_id, cheque_code.printed(code), value_cents, envelope_id, state, digest, sealed)

    def open(self, cheque: Cheque) -> str:
        """The printed code of a cheque; raises CannotOpen where its key is missing or it was altered."""
        return self._printed(cheque.id, cheque.sealed_code)

    def digest(self, cheque_id: UUID, sealed_code: bytes) -> str:
        """The digest, by the current key and in hexadecimal, of a cheque's code; raises CannotOpen."""
        code = self._ring.open(sealed_code, cheque_id.bytes).decode()
        return cheque_code.digest(code, self._digest_key).hex()

    def of_cheques(self, session: Session, cheque_ids: Sequence[UUID]) -> list[Revealed]:
        """The codes of these cheques; unknown ids are left out."""
        return self._reveal(session, engine.among(Cheque.id, cheque_ids))

    def of_grant(self, session: Session, grant_id: UUID) -> list[Revealed]:
        """The codes of a grant's cheques."""
        return self._reveal(session, Cheque.grant_id == grant_id)

    def _reveal(self, session: Session, which: sa.ColumnElement[bool]) -> list[Revealed]:
        columns = (Cheque.id, Cheque.sealed_code, Cheque.value_cents, Cheque.envelope_id, Cheque.state)
        cheques = session.execute(sa.select(*columns).where(which).order_by(Cheque.id)).all()
        return [
            Revealed(cheque_id, self._printed(cheque_id, sealed), value_cents, envelope_id, state)
            for cheque_id, sealed, value_cents, envelope_id, state in cheques
        ]

    def _printed(self, cheque_id: UUID, sealed_code: bytes) -> str:
        return cheque_code.printed(self._ring.open(sealed_code, cheque_id.bytes).decode())
