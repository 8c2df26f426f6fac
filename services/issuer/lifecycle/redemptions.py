"""Redemptions as the issuer learns of them: made and taken back by the redeemer's word, paid by whoever paid.

The redeemer's news and the news of a payment come in any order, and any of them may be read again: each redemption is
one row, every fact of it is written once, and only who writes it first acts upon it. Only a payment can be taken back:
by the redeemer, whose log tells of it after the payment itself.

What is told of a cheque that is not known here is passed over: every cheque was made here, so this database was
restored to before its grant, and that does not come back. `souche verify` names each.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from services.issuer.funding import journal
from services.issuer.funding.models import PAID, UNPAID
from shared.eventlog.event_kinds import ChequesRedeemed, RedemptionReversed, RedemptionsPaid, RedemptionsUnpaid
from shared.eventlog.log import Event
from shared.process.recovery import PAGE_SIZE
from shared.values import clock

# In the order of the ids: two who learn of the same redemptions never wait for each other crosswise.
_MADE = sa.text("""
    INSERT INTO redemption (id, cheque_id, structure_id, redeemed_on)
    SELECT DISTINCT ON (given.id) given.* FROM unnest(
        CAST(:ids AS uuid[]), CAST(:cheque_ids AS uuid[]), CAST(:structure_ids AS uuid[]), CAST(:days AS date[])
    ) AS given (id, cheque_id, structure_id, redeemed_on) JOIN cheque ON cheque.id = cheque_id ORDER BY given.id
    ON CONFLICT (id) DO UPDATE SET
        cheque_id = excluded.cheque_id, structure_id = excluded.structure_id, redeemed_on = excluded.redeemed_on
    WHERE redemption.redeemed_on IS NULL
    RETURNING cheque_id, redeemed_on, reversed_on
""")
_TAKEN_BACK = sa.text("""
    INSERT INTO redemption (id, cheque_id, structure_id, reversed_on)
    SELECT DISTINCT ON (given.id) given.* FROM unnest(
        CAST(:ids AS uuid[]), CAST(:cheque_ids AS uuid[]), CAST(:structure_ids AS uuid[]), CAST(:days AS date[])
    ) AS given (id, cheque_id, structure_id, reversed_on) JOIN cheque ON cheque.id = cheque_id ORDER BY given.id
    ON CONFLICT (id) DO UPDATE SET cheque_id = excluded.cheque_id, reversed_on = excluded.reversed_on
    WHERE redemption.reversed_on IS NULL
    RETURNING cheque_id, reversed_on
""")
_PAID = sa.text("""
    INSERT INTO redemption (id, paid_on, payment_reference)
    SELECT DISTINCT ON (id) * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:days AS date[]), CAST(:references AS text[])
    ) AS given (id, paid_on, payment_reference) ORDER BY id, paid_on, payment_reference
    ON CONFLICT (id) DO UPDATE SET paid_on = excluded.paid_on, payment_reference = excluded.payment_reference
    WHERE redemption.paid_on IS NULL
""")
# Only by the payment that it names: another one that paid it since stays.
_UNPAID = sa.text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:references AS text[])) AS given (id, reference)
    ),
    held AS MATERIALIZED (
        SELECT redemption.id, cheque_id, paid_on, payment_booked
        FROM redemption JOIN given ON given.id = redemption.id AND given.reference = payment_reference
        ORDER BY redemption.id FOR UPDATE OF redemption
    )
    UPDATE redemption SET paid_on = NULL, payment_reference = NULL, payment_booked = false
    FROM held WHERE redemption.id = held.id
    RETURNING held.cheque_id, held.paid_on, held.payment_booked
""")
# Whoever completes the pair of cheque and payment finds it here, with the row still locked by what it just wrote.
_SETTLED = sa.text("""
    UPDATE redemption SET payment_booked = true
    WHERE id = ANY(CAST(:ids AS uuid[])) AND NOT payment_booked AND cheque_id IS NOT NULL AND paid_on IS NOT NULL
    RETURNING cheque_id, paid_on
""")
# The issuer stores days, not instants, nor whether a till or an operator took the cheque: the bridge stores both, so a
# restored redeemer asks it first.
_MIRRORED = sa.text("""
    SELECT redemption.id AS redemption_id, redemption.id AS presentation_id, cheque_id, structure_id,
           cheque.value_cents AS amount_cents, 'till' AS via, CAST(NULL AS uuid) AS contract_id,
           redeemed_on AS given_on, CAST(redeemed_on AS timestamptz) AS redeemed_at, reversed_on IS NOT NULL AS reversed
    FROM redemption JOIN cheque ON cheque.id = cheque_id
    WHERE redeemed_on IS NOT NULL AND redemption.id > :after
    ORDER BY redemption.id LIMIT :limit
""")


def made(session: Session, run: Sequence[Event[ChequesRedeemed]]) -> dict[UUID, date]:
    """Writes redemptions down; returns the cheques of those not known before, each with its day."""
    told = [(event.body, redemption) for event in run for redemption in event.body.redemptions]
    ids = [redemption.redemption_id for _, redemption in told]
    given = {
        "ids": ids,
        "cheque_ids": [redemption.cheque_id for _, redemption in told],
        "structure_ids": [body.structure_id for body, _ in told],
        "days": [clock.day_of(body.redeemed_at) for body, _ in told],
    }
    fresh = session.execute(_MADE, given).all()
    _book_payments(session, ids)
    return {row.cheque_id: row.redeemed_on for row in fresh if row.reversed_on is None}


def taken_back(session: Session, run: Sequence[Event[RedemptionReversed]]) -> dict[UUID, date]:
    """Writes down that redemptions were taken back; returns the cheques of those not known to be, with the day."""
    ids = [event.body.redemption_id for event in run]
    given = {
        "ids": ids,
        "cheque_ids": [event.body.cheque_id for event in run],
        "structure_ids": [event.body.structure_id for event in run],
        "days": [clock.day_of(event.body.reversed_at) for event in run],
    }
    fresh = session.execute(_TAKEN_BACK, given).all()
    _book_payments(session, ids)
    return {row.cheque_id: row.reversed_on for row in fresh}


def paid(session: Session, run: Sequence[Event[RedemptionsPaid]]) -> None:
    """Writes payments down, of each redemption the first, and books those whose cheque is known."""
    told = [(event.body, redemption_id) for event in run for redemption_id in event.body.redemption_ids]
    ids = [redemption_id for _, redemption_id in told]
    given = {
        "ids": ids,
        "days": [body.paid_on for body, _ in told],
        "references": [body.payment_reference for body, _ in told],
    }
    session.execute(_PAID, given)
    _book_payments(session, ids)


def unpaid(session: Session, run: Sequence[Event[RedemptionsUnpaid]]) -> None:
    """Takes back payments that the accountant had mistyped, and books that."""
    told = [(event.body, redemption_id) for event in run for redemption_id in event.body.redemption_ids]
    given = {
        "ids": [redemption_id for _, redemption_id in told],
        "references": [body.payment_reference for body, _ in told],
    }
    opened = session.execute(_UNPAID, given)
    journal.book(session, UNPAID, [(row.cheque_id, row.paid_on) for row in opened if row.payment_booked])


def _book_payments(session: Session, ids: Sequence[UUID]) -> None:
    settled = session.execute(_SETTLED, {"ids": list(ids)})
    journal.book(session, PAID, [(row.cheque_id, row.paid_on) for row in settled])


def mirrored(session: Session, after: UUID) -> list[RowMapping]:
    """A page of the redemptions that the redeemer published, in the order of their ids after `after`."""
    return list(session.execute(_MIRRORED, {"after": after, "limit": PAGE_SIZE}).mappings())
