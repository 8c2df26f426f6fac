"""What will expire soon: warnings 30, 15 and 7 days before, once each, and the report of what is at stake.

A grant gets the nearest of the three warnings that has come: a late one rather than none, and none from before it was
made. Days count from the last day of a workshop that the cheques pay for, not from the end of the grace.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.notices import outbox
from services.issuer.notices.outbox import Draft
from shared.process import slices
from shared.process.runtime import Runtime
from shared.values import clock

DAYS = (30, 15, 7)
KIND = "cheques.expiring"
BATCH_SIZE = 1000
_FIRST = UUID(int=0)

# So many grants at a time by their last day: where a whole country's cheques end on one day, none of them takes long.
_NEXT = sa.text("""
    SELECT valid_until, id FROM cheque_grant
    WHERE (valid_until, id) > (CAST(:day AS date), CAST(:after AS uuid)) AND valid_until <= :until
    ORDER BY valid_until, id LIMIT :limit
""")

# The nearest warning that has come, of grants that have something unspent and have not had that warning yet.
_DUE = sa.text("""
    SELECT cheque_grant.id AS grant_id, cheque_grant.prescriber_id, programme.code AS programme, lot.code AS lot,
           cheque_grant.valid_until, cheque_grant.presentable_until, due.days, unspent.number, unspent.cents
    FROM cheque_grant
    JOIN programme ON programme.id = cheque_grant.programme_id
    LEFT JOIN lot ON lot.id = cheque_grant.lot_id
    CROSS JOIN LATERAL (
        SELECT min(days) AS days FROM unnest(CAST(:days AS int[])) AS days
        WHERE cheque_grant.valid_until - days BETWEEN cheque_grant.granted_on AND CAST(:today AS date)
    ) AS due
    CROSS JOIN LATERAL (
        SELECT count(*) AS number, sum(value_cents) AS cents
        FROM cheque WHERE grant_id = cheque_grant.id AND ending IS NULL
    ) AS unspent
    WHERE cheque_grant.id = ANY(:grants) AND due.days IS NOT NULL AND unspent.number > 0
          AND NOT EXISTS (SELECT FROM notice WHERE kind = :kind AND key = cheque_grant.id || '/' || due.days)
    ORDER BY cheque_grant.id
""")

_AT_STAKE = """
    FROM cheque
    JOIN cheque_grant ON cheque_grant.id = cheque.grant_id
    JOIN programme ON programme.id = cheque_grant.programme_id
    JOIN envelope ON envelope.id = cheque.envelope_id
    LEFT JOIN lot ON lot.id = cheque_grant.lot_id
    WHERE cheque_grant.valid_until BETWEEN :today AND :until AND cheque.ending IS NULL
          AND programme.code = coalesce(CAST(:programme AS text), programme.code)
          AND cheque_grant.prescriber_id = coalesce(CAST(:owner AS uuid), cheque_grant.prescriber_id)
"""
_REPORT = sa.text(
    """
    SELECT programme.code AS programme, cheque_grant.valid_until, cheque_grant.presentable_until,
           envelope.id AS envelope_id, envelope.funder, envelope.convention_reference,
           count(DISTINCT cheque_grant.id) AS grants, count(*) AS number, sum(cheque.value_cents) AS cents,
           count(*) FILTER (WHERE cheque.state = 'blocked') AS blocked_number
    """
    + _AT_STAKE
    + "GROUP BY 1, 2, 3, 4 ORDER BY 2, 1, 5, 6, 4"
)
GRANTS = (
    """
    SELECT cheque_grant.id AS grant_id, cheque_grant.prescriber_id, programme.code AS programme, lot.code AS lot,
           cheque_grant.granted_on, cheque_grant.valid_until, cheque_grant.presentable_until,
           count(*) AS number, sum(cheque.value_cents) AS cents
    """
    + _AT_STAKE
    + "GROUP BY cheque_grant.id, programme.code, lot.code ORDER BY cheque_grant.valid_until, cheque_grant.id"
)
"""A line for each grant with something unspent, to be streamed with `params`."""


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a run among the grants: by their last day, then by their id."""

    day: date
    after: UUID = _FIRST

    @classmethod
    def read(cls, text: str) -> Self:
        """The place that `str` wrote."""
        day, _, after = text.partition(" ")
        return cls(date.fromisoformat(day), UUID(after))

    def __str__(self) -> str:
        return f"{self.day} {self.after}"


def warn(
    runtime: Runtime, today: date | None = None, start: Place | None = None, seconds: float = math.inf
) -> tuple[int, Place | None]:
    """Posts the warnings that are due, a slice to a transaction: their number, and the place to go on from, if any.

    Two runs at the same moment post nothing twice.
    """
    day = today or clock.today()
    last_day = day + timedelta(days=max(DAYS))

    def warn_next(place: Place) -> tuple[int, Place | None]:
        following = {"day": place.day, "after": place.after, "until": last_day, "limit": BATCH_SIZE}
        with runtime.transaction() as session:
            grants = session.execute(_NEXT, following).all()
            due = {"grants": [grant.id for grant in grants], "today": day, "days": list(DAYS), "kind": KIND}
            posted = outbox.post_all(session, KIND, [_draft(row, day) for row in session.execute(_DUE, due)])
        return posted, Place(*grants[-1]) if len(grants) == BATCH_SIZE else None

    return slices.run(warn_next, start or Place(day), seconds)


def _draft(row: Any, today: date) -> Draft:
    body = {
        "grant_id": str(row.grant_id),
        "programme": row.programme,
        "lot": row.lot,
        "days": row.days,
        "days_left": (row.valid_until - today).days,
        "valid_until": row.valid_until.isoformat(),
        "presentable_until": row.presentable_until.isoformat(),
        "unspent_number": row.number,
        "unspent_cents": int(row.cents),
    }
    return Draft(f"{row.grant_id}/{row.days}", body, row.grant_id, row.prescriber_id)


def params(query: Mapping[str, Any], owner: UUID | None) -> dict[str, Any]:
    """The parameters of the report and of `GRANTS`; `owner` is the prescriber whose grants they are, None for all."""
    today = clock.today()
    return {**query, "today": today, "until": today + timedelta(days=query["days"]), "owner": owner}


def report(session: Session, params: Mapping[str, Any]) -> dict[str, Any]:
    """What will expire if it is not spent: by last day, programme and envelope, and in all."""
    lines = [dict(row) | {"cents": int(row["cents"])} for row in session.execute(_REPORT, params).mappings()]
    return {
        "from": params["today"],
        "until": params["until"],
        "number": sum(line["number"] for line in lines),
        "cents": sum(line["cents"] for line in lines),
        "lines": lines,
    }
