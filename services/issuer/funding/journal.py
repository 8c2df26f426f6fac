"""The journal: the changes of cheques by day, summed by envelope, public and kind of prescriber.

Rows are only added, under today's date, so a report as of a past day never changes, whatever becomes known later.
`occurred_on` is the day of the fact itself.
"""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.funding.allocation import Allocation
from services.issuer.funding.models import ENGAGED, Charge
from shared.database import engine
from shared.values import clock

_CHARGE_COLUMNS = ("grant_id", "envelope_id", "number", "cents", "why", "reserved", "prescriber_kind")

_ENGAGE = sa.text("""
    INSERT INTO journal_entry (booked_on, occurred_on, kind, envelope_id, target_public, prescriber_kind, number, cents)
    SELECT :today, cheque_grant.granted_on, :kind, charge.envelope_id, cheque_grant.target_public,
           charge.prescriber_kind, sum(charge.number), sum(charge.cents)
    FROM charge JOIN cheque_grant ON cheque_grant.id = charge.grant_id
    WHERE charge.grant_id = ANY(CAST(:grant_ids AS uuid[])) GROUP BY 2, 4, 5, 6 ORDER BY 2, 4, 5, 6
""")

_BOOK = sa.text("""
    INSERT INTO journal_entry (booked_on, occurred_on, kind, envelope_id, target_public, prescriber_kind, number, cents)
    SELECT :today, input.occurred_on, :kind, cheque.envelope_id, cheque_grant.target_public, charge.prescriber_kind,
           count(*), sum(cheque.value_cents)
    FROM unnest(CAST(:cheque_ids AS uuid[]), CAST(:days AS date[])) AS input (cheque_id, occurred_on)
    JOIN cheque ON cheque.id = input.cheque_id
    JOIN cheque_grant ON cheque_grant.id = cheque.grant_id
    JOIN charge ON charge.grant_id = cheque.grant_id AND charge.envelope_id = cheque.envelope_id
    GROUP BY 2, 4, 5, 6 ORDER BY 2, 4, 5, 6
""")


def engage(session: Session, charged: Sequence[tuple[UUID, Allocation]]) -> None:
    """Stores which envelopes pay for new grants and why, and books the engaged cents."""
    rows = [
        (grant_id, part.envelope_id, part.number, part.cents, part.why, part.reserved, allocation.prescriber_kind)
        for grant_id, allocation in charged
        for part in allocation.parts
    ]
    if rows:
        engine.insert_rows(session, Charge, _CHARGE_COLUMNS, rows)
        grant_ids = [grant_id for grant_id, _ in charged]
        session.execute(_ENGAGE, {"today": clock.today(), "kind": ENGAGED, "grant_ids": grant_ids})


def book(session: Session, kind: str, dated: Collection[tuple[UUID, date]]) -> None:
    """Books an entry of this kind for cheques, with the day of each. The caller ensures that it is booked once."""
    if dated:
        cheque_ids, days = map(list, zip(*dated, strict=True))
        session.execute(_BOOK, {"today": clock.today(), "kind": kind, "cheque_ids": cheque_ids, "days": days})
