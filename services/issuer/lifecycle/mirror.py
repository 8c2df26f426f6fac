"""What the redeemer decided, mirrored on the cheques: redeemed, reversed, expired, cancelled or refused."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import CANCELLED, EXPIRED, REDEEMED, REFUSED, REQUESTED, Cheque
from services.issuer.funding import envelopes, journal
from services.issuer.funding.models import UNUSED, USED
from services.issuer.lifecycle import redemptions, replacing, selection, suspending
from shared.database import engine
from shared.eventlog.event_kinds import (
    CancellationRefused,
    ChequesCancelled,
    ChequesExpired,
    ChequesRedeemed,
    ChequesRegistered,
    RedemptionReversed,
)
from shared.eventlog.log import Event
from shared.values import clock

# Arrays: a run of events may answer for more cheques than a statement takes parameters.
_SETTLE = sa.text("""
    UPDATE cancellation_cheque SET outcome = :outcome, reason = given.reason
    FROM unnest(CAST(:cancellations AS uuid[]), CAST(:cheques AS uuid[]), CAST(:reasons AS text[]))
         AS given (cancellation_id, cheque_id, reason)
    WHERE cancellation_cheque.cancellation_id = given.cancellation_id
      AND cancellation_cheque.cheque_id = given.cheque_id AND outcome = :requested
""")


def registered(session: Session, run: Sequence[Event[ChequesRegistered]]) -> None:
    """An operator knows them: those of a programme that waits for this are spendable."""
    ids = [cheque_id for event in run for cheque_id in event.body.cheque_ids]
    session.execute(_update(ids).where(Cheque.active.is_(False)).values(active=True))


def redeemed(session: Session, run: Sequence[Event[ChequesRedeemed]]) -> None:
    """They were spent."""
    days = redemptions.made(session, run)
    spent = _update(list(days)).where(Cheque.ending.is_(None)).values(ending=REDEEMED)
    _book(session, USED, spent, days)


def reversed_(session: Session, run: Sequence[Event[RedemptionReversed]]) -> None:
    """Their redemption was taken back."""
    days = redemptions.taken_back(session, run)
    selection.lock_lots(session, list(days))
    unspent = _update(list(days)).where(Cheque.ending == REDEEMED).values(ending=None)
    suspending.adopt(session, _book(session, UNUSED, unspent, days))


def cancelled(session: Session, run: Sequence[Event[ChequesCancelled]]) -> None:
    """They were cancelled as was asked; their money goes back to its envelope, or to the cheques that replace them."""
    told = [
        (event.body.cancellation_id, cheque_id, event.body.cancelled_at)
        for event in run
        for cheque_id in event.body.cheque_ids
    ]
    at = {cheque_id: instant for _, cheque_id, instant in told}
    selection.lock_lots(session, list(at))
    _end(session, at, CANCELLED)
    _settle(session, CANCELLED, [(cancellation_id, cheque_id, None) for cancellation_id, cheque_id, _ in told])
    replacing.replace(session, told)
    replacing.tell_refusals(session, [cancellation_id for cancellation_id, _, _ in told])


def cancellation_refused(session: Session, run: Sequence[Event[CancellationRefused]]) -> None:
    """The request came too late for them."""
    refusals = [
        (event.body.cancellation_id, cheque.cheque_id, cheque.reason) for event in run for cheque in event.body.cheques
    ]
    _settle(session, REFUSED, refusals)
    replacing.tell_refusals(session, [cancellation_id for cancellation_id, _, _ in refusals])


def expired(session: Session, run: Sequence[Event[ChequesExpired]]) -> None:
    """Their time is over; their money goes back to its envelope."""
    days = {cheque_id: event.body.expired_at for event in run for cheque_id in event.body.cheque_ids}
    _end(session, days, EXPIRED)


def _update(cheque_ids: Sequence[UUID]) -> sa.Update:
    return sa.update(Cheque).where(engine.among(Cheque.id, cheque_ids)).execution_options(synchronize_session=False)


def _end(session: Session, at: Mapping[UUID, datetime], ending: str) -> None:
    """Ends the cheques that have not ended, and so releases the money of each once."""
    days = {cheque_id: clock.day_of(instant) for cheque_id, instant in at.items()}
    ended = _update(list(days)).where(Cheque.ending.is_(None)).values(ending=ending)
    envelopes.release(session, _book(session, ending, ended, days))


def _book(session: Session, kind: str, change: sa.Update, days: Mapping[UUID, date]) -> Sequence[UUID]:
    """Changes cheques and books those that were changed, each on its day; gives their ids."""
    changed = session.scalars(change.returning(Cheque.id)).all()
    journal.book(session, kind, [(cheque_id, days[cheque_id]) for cheque_id in changed])
    return changed


def _settle(session: Session, outcome: str, answers: Sequence[tuple[UUID, UUID, str | None]]) -> None:
    """Settles requests that are still open, each given as cancellation, cheque and reason."""
    given = {
        "cancellations": [cancellation_id for cancellation_id, _, _ in answers],
        "cheques": [cheque_id for _, cheque_id, _ in answers],
        "reasons": [reason for _, _, reason in answers],
    }
    session.execute(_SETTLE, {"outcome": outcome, "requested": REQUESTED, **given})
