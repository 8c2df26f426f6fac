"""The decisions of the redeemer and the payers, mirrored here: cheques and their redemptions, by set.

Events of redemptions and of payments arrive in any order and may be read again: a redemption is one row, every fact of
it is written once, and only the first writer acts upon it. Only a payment can be undone: by the redeemer, whose log has
the withdrawal after the payment.

Events of an unknown cheque are skipped: every cheque was made here, so this database was restored to a time before its
grant, and the grant does not come back. `souche verify` lists them.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import CANCELLED, EXPIRED, REDEEMED, REFUSED, REQUESTED, Cheque
from services.issuer.funding import journal
from services.issuer.funding.envelopes import Freed
from services.issuer.funding.models import PAID, UNPAID, UNUSED, USED
from services.issuer.lifecycle import blocking, replacing, selection
from shared.database import engine
from shared.eventlog.event_kinds import (
    CancellationRefused,
    ChequesCancelled,
    ChequesExpired,
    ChequesRedeemed,
    ChequesRegistered,
    RedemptionReversed,
    RedemptionsPaid,
    RedemptionsUnpaid,
)
from shared.eventlog.log import Event
from shared.process.recovery import PAGE_SIZE
from shared.values import clock

# Arrays: a run of events may answer for more cheques than a statement takes parameters.
_SETTLE = sa.text("""
    UPDATE cancellation_cheque SET outcome = :outcome, reason = input.reason
    FROM unnest(CAST(:cancellations AS uuid[]), CAST(:cheques AS uuid[]), CAST(:reasons AS text[]))
         AS input (cancellation_id, cheque_id, reason)
    WHERE cancellation_cheque.cancellation_id = input.cancellation_id
      AND cancellation_cheque.cheque_id = input.cheque_id AND outcome = :requested
""")


def _fact(day: str) -> sa.TextClause:
    """The statement that writes one fact of redemptions: on which day they were made, or taken back.

    In the order of the ids: two who learn of the same redemptions never wait for each other crosswise.
    """
    return sa.text(f"""
        INSERT INTO redemption (id, cheque_id, structure_id, {day})
        SELECT DISTINCT ON (input.id) input.* FROM unnest(
            CAST(:ids AS uuid[]), CAST(:cheque_ids AS uuid[]), CAST(:structure_ids AS uuid[]), CAST(:days AS date[])
        ) AS input (id, cheque_id, structure_id, {day}) JOIN cheque ON cheque.id = cheque_id ORDER BY input.id
        ON CONFLICT (id) DO UPDATE SET
            cheque_id = excluded.cheque_id, structure_id = excluded.structure_id, {day} = excluded.{day}
        WHERE redemption.{day} IS NULL
        RETURNING cheque_id, {day} AS day, reversed_on
    """)  # noqa: S608 (constants of this module)


_REDEEMED, _REVERSED = _fact("redeemed_on"), _fact("reversed_on")
_PAID = sa.text("""
    INSERT INTO redemption (id, paid_on, payment_reference)
    SELECT DISTINCT ON (id) * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:days AS date[]), CAST(:references AS text[])
    ) AS input (id, paid_on, payment_reference) ORDER BY id, paid_on, payment_reference
    ON CONFLICT (id) DO UPDATE SET paid_on = excluded.paid_on, payment_reference = excluded.payment_reference
    WHERE redemption.paid_on IS NULL
""")
# Only by the payment that it names: another one that paid it since stays.
_UNPAID = sa.text("""
    WITH locked AS MATERIALIZED (
        SELECT redemption.id, cheque_id, paid_on, payment_booked
        FROM redemption
        JOIN unnest(CAST(:ids AS uuid[]), CAST(:references AS text[])) AS input (id, reference)
             ON input.id = redemption.id AND input.reference = payment_reference
        ORDER BY redemption.id FOR UPDATE OF redemption
    )
    UPDATE redemption SET paid_on = NULL, payment_reference = NULL, payment_booked = false
    FROM locked WHERE redemption.id = locked.id
    RETURNING locked.cheque_id, locked.paid_on, locked.payment_booked
""")
# Whoever completes the pair of cheque and payment finds it here, with the row still locked by what it just wrote.
_BOOK_PAYMENTS = sa.text("""
    UPDATE redemption SET payment_booked = true
    WHERE id = ANY(CAST(:ids AS uuid[])) AND NOT payment_booked AND cheque_id IS NOT NULL AND paid_on IS NOT NULL
    RETURNING cheque_id, paid_on
""")
# The issuer stores days, not instants, nor whether a till or an operator took the cheque: the bridge stores both, so a
# restored redeemer asks it first.
_PAGE = sa.text("""
    SELECT redemption.id AS redemption_id, redemption.id AS presentation_id, cheque_id, structure_id,
           cheque.value_cents AS amount_cents, 'till' AS via, CAST(NULL AS uuid) AS contract_id,
           redeemed_on AS given_on, CAST(redeemed_on AS timestamptz) AS redeemed_at, reversed_on IS NOT NULL AS reversed
    FROM redemption JOIN cheque ON cheque.id = cheque_id
    WHERE redeemed_on IS NOT NULL AND redemption.id > :after
    ORDER BY redemption.id LIMIT :limit
""")


def registered(session: Session, run: Sequence[Event[ChequesRegistered]]) -> None:
    """Makes cheques spendable whose programme waits for an operator to register them."""
    ids = [cheque_id for event in run for cheque_id in event.body.cheque_ids]
    session.execute(_update(ids).where(Cheque.active.is_(False)).values(active=True))


def redeemed(session: Session, run: Sequence[Event[ChequesRedeemed]]) -> None:
    """Stores redemptions, and ends the cheques of the new ones."""
    rows = [
        (redemption.redemption_id, redemption.cheque_id, event.body.structure_id, clock.day_of(event.body.redeemed_at))
        for event in run
        for redemption in event.body.redemptions
    ]
    days = {row.cheque_id: row.day for row in _store(session, _REDEEMED, rows) if row.reversed_on is None}
    _book(session, USED, _update(days).where(Cheque.ending.is_(None)).values(ending=REDEEMED), days)


def reversed_(session: Session, run: Sequence[Event[RedemptionReversed]]) -> None:
    """Stores that redemptions were taken back, and makes their cheques spendable again."""
    rows = [
        (event.body.redemption_id, event.body.cheque_id, event.body.structure_id, clock.day_of(event.body.reversed_at))
        for event in run
    ]
    days = {row.cheque_id: row.day for row in _store(session, _REVERSED, rows)}
    selection.lock_lots(session, days)
    unspent = _update(days).where(Cheque.ending == REDEEMED).values(ending=None)
    blocking.adopt(session, _book(session, UNUSED, unspent, days))


def paid(session: Session, run: Sequence[Event[RedemptionsPaid]]) -> None:
    """Stores payments, of each redemption the first, and books those whose cheque is stored."""
    rows = [
        (redemption_id, event.body.paid_on, event.body.payment_reference)
        for event in run
        for redemption_id in event.body.redemption_ids
    ]
    session.execute(_PAID, engine.arrays(("ids", "days", "references"), rows))
    _book_payments(session, [row[0] for row in rows])


def unpaid(session: Session, run: Sequence[Event[RedemptionsUnpaid]]) -> None:
    """Takes back payments that the accountant had mistyped, and books that."""
    rows = [
        (redemption_id, event.body.payment_reference) for event in run for redemption_id in event.body.redemption_ids
    ]
    opened = session.execute(_UNPAID, engine.arrays(("ids", "references"), rows))
    journal.book(session, UNPAID, [(row.cheque_id, row.paid_on) for row in opened if row.payment_booked])


def cancelled(session: Session, run: Sequence[Event[ChequesCancelled]]) -> Freed:
    """Ends cancelled cheques; returns those whose money is free, and the cheques that replace some of them."""
    rows = [
        (event.body.cancellation_id, cheque_id, event.body.cancelled_at)
        for event in run
        for cheque_id in event.body.cheque_ids
    ]
    instants = {cheque_id: instant for _, cheque_id, instant in rows}
    selection.lock_lots(session, instants)
    ended = _end(session, instants, CANCELLED)
    _settle(session, CANCELLED, [(cancellation_id, cheque_id, None) for cancellation_id, cheque_id, _ in rows])
    replacements = replacing.issue(session, rows)
    replacing.notify_refusals(session, [row[0] for row in rows])
    return Freed(ended, replacements)


def cancellation_refused(session: Session, run: Sequence[Event[CancellationRefused]]) -> None:
    """Settles requests that came too late."""
    refusals = [
        (event.body.cancellation_id, cheque.cheque_id, cheque.reason) for event in run for cheque in event.body.cheques
    ]
    _settle(session, REFUSED, refusals)
    replacing.notify_refusals(session, [refusal[0] for refusal in refusals])


def expired(session: Session, run: Sequence[Event[ChequesExpired]]) -> Freed:
    """Ends cheques whose time is over; returns those whose money is free."""
    instants = {cheque_id: event.body.expired_at for event in run for cheque_id in event.body.cheque_ids}
    return Freed(_end(session, instants, EXPIRED))


def redemption_page(session: Session, after: UUID) -> list[sa.RowMapping]:
    """A page of the redemptions that the redeemer published, in the order of their ids."""
    return list(session.execute(_PAGE, {"after": after, "limit": PAGE_SIZE}).mappings())


def _update(cheque_ids: Collection[UUID]) -> sa.Update:
    return sa.update(Cheque).where(engine.among(Cheque.id, cheque_ids)).execution_options(synchronize_session=False)


def _end(session: Session, instants: Mapping[UUID, datetime], ending: str) -> Sequence[UUID]:
    """Ends the cheques that have not ended; returns them, so that the money of each is released once."""
    days = {cheque_id: clock.day_of(instant) for cheque_id, instant in instants.items()}
    ended = _update(days).where(Cheque.ending.is_(None)).values(ending=ending)
    return _book(session, ending, ended, days)


def _book(session: Session, kind: str, change: sa.Update, days: Mapping[UUID, date]) -> Sequence[UUID]:
    """Changes cheques and books the changed ones on their days; returns their ids."""
    changed = session.scalars(change.returning(Cheque.id)).all()
    journal.book(session, kind, [(cheque_id, days[cheque_id]) for cheque_id in changed])
    return changed


def _store(
    session: Session, fact: sa.TextClause, rows: Sequence[tuple[UUID, UUID, UUID, date]]
) -> Sequence[sa.Row[Any]]:
    """Writes a fact where it is new, and books payments that came before it; returns the cheques with their days."""
    fresh = session.execute(fact, engine.arrays(("ids", "cheque_ids", "structure_ids", "days"), rows)).all()
    _book_payments(session, [row[0] for row in rows])
    return fresh


def _book_payments(session: Session, redemption_ids: Sequence[UUID]) -> None:
    settled = session.execute(_BOOK_PAYMENTS, {"ids": redemption_ids})
    journal.book(session, PAID, [(row.cheque_id, row.paid_on) for row in settled])


def _settle(session: Session, outcome: str, answers: Sequence[tuple[UUID, UUID, str | None]]) -> None:
    """Settles requests that are still open: cancellation, cheque and reason of each."""
    arrays = engine.arrays(("cancellations", "cheques", "reasons"), answers)
    session.execute(_SETTLE, {"outcome": outcome, "requested": REQUESTED, **arrays})
