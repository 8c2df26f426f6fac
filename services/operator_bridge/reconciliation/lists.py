"""The lists of runs, discrepancies and daily balances: as pages, and the queries of their CSV files."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.register.models_reconciliation import DailyBalance, Discrepancy, Reconciliation
from shared.database.paging import page

_MAX_DAILY_BALANCES = 366

DISCREPANCIES_CSV = """
    SELECT discrepancy_id, found_at, contract.code AS contract, discrepancy.operator, kind, reference, cheque_id,
           discrepancy.state, ours, theirs, policy, resolved_at, resolved_by, resolver, note
    FROM discrepancy LEFT JOIN contract USING (contract_id)
    WHERE (CAST(:contract_id AS uuid) IS NULL OR contract_id = :contract_id)
      AND (CAST(:state AS text) IS NULL OR discrepancy.state = :state)
      AND (CAST(:kind AS text) IS NULL OR kind = :kind)
    ORDER BY discrepancy_id
"""
RECONCILIATIONS_CSV = """
    SELECT reconciliation_id, contract.code AS contract, contract.operator, night, reconciliation.state, requested_at,
           started_at, finished_at, error, compared, lines, moving, ours, theirs, differences, settled, resolved,
           waiting, withheld
    FROM reconciliation JOIN contract USING (contract_id)
    WHERE CAST(:contract_id AS uuid) IS NULL OR contract_id = :contract_id
    ORDER BY reconciliation_id
"""
# One line per day, programme, party and state: what a spreadsheet can add up.
DAILY_BALANCES_CSV = """
    SELECT day, programme, party.name AS party, party.contract, entry.key AS state,
           (entry.value ->> 'number')::bigint AS number, (entry.value ->> 'cents')::bigint AS cents, agrees, kept_at
    FROM daily_balance CROSS JOIN LATERAL (
        SELECT 'register' AS name, NULL AS contract, register AS sums
        UNION ALL SELECT 'redeemer', NULL, redeemer WHERE redeemer IS NOT NULL
        UNION ALL SELECT held ->> 'operator', held ->> 'contract', held -> 'theirs'
                  FROM jsonb_array_elements(operators) held
    ) party CROSS JOIN LATERAL jsonb_each(party.sums) entry
    WHERE (CAST(:since AS date) IS NULL OR day >= :since) AND (CAST(:until AS date) IS NULL OR day <= :until)
      AND (CAST(:programme AS text) IS NULL OR programme = :programme)
    ORDER BY day, programme, party.name, party.contract, entry.key
"""


def reconciliations(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the runs of a contract, or of all, oldest first."""
    return _page(session, Reconciliation, Reconciliation.reconciliation_id, query, "contract_id")


def discrepancies(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the discrepancies of a contract, a state and a kind, as far as `query` names them; oldest first."""
    return _page(session, Discrepancy, Discrepancy.discrepancy_id, query, "contract_id", "state", "kind")


def daily_balances(
    session: Session, since: date | None, until: date | None, programme: str | None
) -> Sequence[DailyBalance]:
    """The last 366 balances of these days (both included) and this programme, oldest first."""
    chosen = sa.select(DailyBalance).order_by(DailyBalance.day.desc(), DailyBalance.programme)
    if since:
        chosen = chosen.where(DailyBalance.day >= since)
    if until:
        chosen = chosen.where(DailyBalance.day <= until)
    if programme is not None:
        chosen = chosen.where(DailyBalance.programme == programme)
    return session.scalars(chosen.limit(_MAX_DAILY_BALANCES)).all()[::-1]


def _page(session: Session, model: Any, identifier: Any, query: Mapping[str, Any], *names: str) -> dict[str, Any]:
    filters = {name: query[name] for name in names if query[name] is not None}
    return page(session, sa.select(model).filter_by(**filters), identifier, query["after"], query["limit"])
