"""What will expire soon: warnings 30, 15 and 7 days before, once each, and the report of what is at stake.

A grant is warned of while some of its cheques are unspent, at the nearest of the three that has come: if nobody looked
for a week, the warning comes late rather than not at all, and a nearer one takes the place of one that was missed. A
grant that was made within that time of its last day is not warned of what its prescriber has just said to the person.
Warnings count from the last day of a workshop that the cheques pay for, not from the end of the grace.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer import notices
from services.issuer.notices import Draft
from shared import clock
from shared.runtime import Runtime

DAYS = (30, 15, 7)
"""How long before their last day grants are warned of."""
KIND = "cheques.expiring"
_PORTION = 500

# The nearest warning that has come, of grants that have something unspent and have not had that warning yet.
_DUE = sa.text("""
    SELECT given.id AS grant_id, given.prescriber_id, programme.code AS programme, lot.code AS lot,
           given.valid_until, given.presentable_until, due.days, unspent.number, unspent.cents
    FROM cheque_grant AS given
    JOIN programme ON programme.id = given.programme_id
    LEFT JOIN lot ON lot.id = given.lot_id
    CROSS JOIN LATERAL (
        SELECT min(days) AS days FROM unnest(CAST(:days AS int[])) AS days
        WHERE given.valid_until - days BETWEEN given.granted_on AND CAST(:today AS date)
    ) AS due
    CROSS JOIN LATERAL (
        SELECT count(*) AS number, sum(value_cents) AS cents FROM cheque WHERE grant_id = given.id AND ending IS NULL
    ) AS unspent
    WHERE given.id > :after AND given.valid_until BETWEEN :today AND :until
          AND due.days IS NOT NULL AND unspent.number > 0
          AND NOT EXISTS (SELECT FROM notice WHERE kind = :kind AND key = given.id || '/' || due.days)
    ORDER BY given.id LIMIT :limit
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
"""A line for each grant with something unspent, to be streamed with the parameters of `asked`."""


def warn(runtime: Runtime, today: date | None = None) -> int:
    """Posts the warnings that are due, a portion to a transaction, and says how many.

    Whoever comes second at the same moment posts nothing twice; a run that was cut short is made good by the next.
    """
    day = today or clock.today()
    query = {
        "today": day,
        "until": day + timedelta(days=max(DAYS)),
        "days": list(DAYS),
        "kind": KIND,
        "limit": _PORTION,
        "after": UUID(int=0),
    }
    posted = 0
    while True:
        with runtime.transaction() as session:
            rows = session.execute(_DUE, query).all()
            posted += notices.post_all(session, KIND, [_draft(row, day) for row in rows])
        if len(rows) < _PORTION:
            return posted
        query["after"] = rows[-1].grant_id


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


def asked(within_days: int, programme: str | None, owner: UUID | None) -> dict[str, Any]:
    """The parameters of the report and of `GRANTS`; `owner` is the prescriber whose grants they are, None for all."""
    today = clock.today()
    return {"today": today, "until": today + timedelta(days=within_days), "programme": programme, "owner": owner}


def report(session: Session, given: Mapping[str, Any]) -> dict[str, Any]:
    """What will expire if it is not spent: by last day, programme and envelope, and in all."""
    lines = [dict(row) | {"cents": int(row["cents"])} for row in session.execute(_REPORT, given).mappings()]
    return {
        "from": given["today"],
        "until": given["until"],
        "number": sum(line["number"] for line in lines),
        "cents": sum(line["cents"] for line in lines),
        "lines": lines,
    }
