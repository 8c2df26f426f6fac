"""The statement at the end of a lot: what it came to, envelope by envelope, agreed once and never rewritten.

Before it is agreed the statement says what is so now. Whoever agrees names the figures that were looked at, by their
digest: if a cheque moved in between, nothing is agreed. What happens afterwards, as when a redemption is taken back,
changes nothing in it and is shown beside it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.grants import lots
from services.issuer.grants.models import Lot
from services.issuer.lots.models import LotStatement
from services.issuer.notices import outbox
from services.issuer.programmes.models import Programme
from shared.problems import Conflict
from shared.values import clock

# Every cheque of the lot is issued, and in one of the others; replaced ones are among those cancelled.
COLUMNS = ("issued", "used", "expired", "cancelled", "replaced", "blocked", "open")

Figures = dict[str, Any]
"""`envelopes`: a line each; `total`: their sums. Each has number and cents of every column."""

_COUNT = sa.text("""
    SELECT envelope.id AS envelope_id, envelope.funder, envelope.convention_reference,
           count(*) AS issued_number, sum(value_cents) AS issued_cents,
           count(*) FILTER (WHERE state = 'redeemed') AS used_number,
           coalesce(sum(value_cents) FILTER (WHERE state = 'redeemed'), 0) AS used_cents,
           count(*) FILTER (WHERE state = 'expired') AS expired_number,
           coalesce(sum(value_cents) FILTER (WHERE state = 'expired'), 0) AS expired_cents,
           count(*) FILTER (WHERE state = 'cancelled') AS cancelled_number,
           coalesce(sum(value_cents) FILTER (WHERE state = 'cancelled'), 0) AS cancelled_cents,
           count(replaced_cheque.old_cheque_id) AS replaced_number,
           coalesce(sum(value_cents) FILTER (WHERE replaced_cheque.old_cheque_id IS NOT NULL), 0) AS replaced_cents,
           count(*) FILTER (WHERE state = 'blocked') AS blocked_number,
           coalesce(sum(value_cents) FILTER (WHERE state = 'blocked'), 0) AS blocked_cents,
           count(*) FILTER (WHERE state IN ('issued', 'spendable')) AS open_number,
           coalesce(sum(value_cents) FILTER (WHERE state IN ('issued', 'spendable')), 0) AS open_cents
    FROM cheque_grant
    JOIN cheque ON cheque.grant_id = cheque_grant.id
    JOIN envelope ON envelope.id = cheque.envelope_id
    LEFT JOIN replaced_cheque ON replaced_cheque.old_cheque_id = cheque.id AND replaced_cheque.issued_at IS NOT NULL
    WHERE cheque_grant.lot_id = :lot_id
    GROUP BY envelope.id ORDER BY envelope.funder, envelope.convention_reference, envelope.id
""")
_IN_HAND = sa.text("""
    SELECT count(*) FROM cancellation_cheque
    JOIN cheque ON cheque.id = cheque_id JOIN cheque_grant ON cheque_grant.id = grant_id
    WHERE lot_id = :lot_id AND outcome = 'requested'
""")


@dataclass(frozen=True, slots=True)
class Shown:
    """A lot's statement: as it was agreed, and how things stand now; before, both are the same."""

    lot: Lot
    programme: str
    programme_name: str
    figures: Figures
    digest: str
    now: Figures
    agreed_at: datetime | None
    agreed_by: str | None

    @property
    def differs(self) -> bool:
        """Whether something has happened since it was agreed."""
        return self.figures != self.now


def show(session: Session, code: str) -> Shown:
    """The statement of a lot, agreed or as it would be now; raises NotFound."""
    lot = lots.find(session, code)
    programme = session.get_one(Programme, lot.programme_id)
    named = programme.code, programme.name
    now = _count(session, lot.id)
    agreed = session.get(LotStatement, lot.id)
    if agreed is None:
        return Shown(lot, *named, now, _digest(now), now, None, None)
    return Shown(lot, *named, agreed.figures, agreed.digest, now, agreed.agreed_at, agreed.agreed_by)


def agree(session: Session, code: str, digest: str, by: str) -> Shown:
    """Freezes a lot's figures as they were looked at, and closes the lot.

    Raises NotFound, or Conflict where it was agreed before, some of its cheques can still move, or the figures are not
    those any more.
    """
    lot = lots.find(session, code, lock=True)
    if lot.closed_at is not None:
        raise Conflict("The statement of this lot was agreed before.", slug="lot-closed")
    figures = _count(session, lot.id)
    _refuse_open(session, lot.id, figures)
    if digest != _digest(figures):
        raise Conflict(
            "The figures have changed: look at them again.", slug="statement-changed", digest=_digest(figures)
        )
    lot.closed_at = clock.now()
    agreed = LotStatement(lot_id=lot.id, figures=figures, digest=digest, agreed_by=by, agreed_at=lot.closed_at)
    session.add(agreed)
    session.flush()
    body = {"lot": lot.code, "by": by, "digest": digest, "total": figures["total"]}
    outbox.post(session, "lot.agreed", str(lot.id), body, subject_id=lot.id)
    return show(session, code)


def _refuse_open(session: Session, lot_id: UUID, figures: Figures) -> None:
    """A cheque that can still be spent, or whose cancellation is in hand, would change the figures by itself."""
    number = figures["total"]["open_number"]
    in_hand = session.execute(_IN_HAND, {"lot_id": lot_id}).scalar_one()
    if number or in_hand:
        raise Conflict(
            f"It is not the end of the lot: {number} cheques can be spent, {in_hand} cancellations are in hand.",
            slug="lot-still-open",
            open_number=number,
            in_hand=in_hand,
        )


def _count(session: Session, lot_id: UUID) -> Figures:
    rows = session.execute(_COUNT, {"lot_id": lot_id}).mappings()
    envelopes = [{name: _plain(value) for name, value in row.items()} for row in rows]
    return {"envelopes": envelopes, "total": _total(envelopes)}


def _plain(value: Any) -> Any:
    """A value as JSON has it; sums come as decimals."""
    return value if isinstance(value, str) else str(value) if isinstance(value, UUID) else int(value)


def _total(envelopes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    lines = list(envelopes)
    names = [f"{column}_{unit}" for column in COLUMNS for unit in ("number", "cents")]
    return {name: sum(line[name] for line in lines) for name in names}


def _digest(figures: Figures) -> str:
    return hashlib.sha256(json.dumps(figures, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
