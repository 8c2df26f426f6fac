"""Lists as CSV, streamed row by row from the database: nothing is held but the rows in hand.

Amounts are cents of EUR, instants are UTC. A cell that a spreadsheet would take for a formula is written as text: what
operators and people wrote is in these files.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from shared.runtime import Runtime

_AT_ONCE = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

DISCREPANCIES = """
    SELECT discrepancy_id, found_at, contract.code AS contract, discrepancy.operator, kind, reference, cheque_id,
           discrepancy.state, ours, theirs, policy, resolved_at, resolved_by, resolver, note
    FROM discrepancy LEFT JOIN contract USING (contract_id)
    WHERE (CAST(:contract_id AS uuid) IS NULL OR contract_id = :contract_id)
      AND (CAST(:state AS text) IS NULL OR discrepancy.state = :state)
      AND (CAST(:kind AS text) IS NULL OR kind = :kind)
    ORDER BY discrepancy_id
"""
RECONCILIATIONS = """
    SELECT reconciliation_id, contract.code AS contract, contract.operator, night, reconciliation.state, requested_at,
           started_at, finished_at, error, compared, lines, moving, ours, theirs, differences, settled, resolved,
           waiting, withheld
    FROM reconciliation JOIN contract USING (contract_id)
    WHERE CAST(:contract_id AS uuid) IS NULL OR contract_id = :contract_id
    ORDER BY reconciliation_id
"""
# One line per day, programme, party and state: what a spreadsheet can add up.
DAILY_BALANCES = """
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


def export(runtime: Runtime, query: str, given: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a CSV file, its heads first."""
    with runtime.engine.connect() as connection:
        options = {"stream_results": True, "max_row_buffer": _AT_ONCE}
        result = connection.execution_options(**options).execute(sa.text(query), given)
        yield _line(list(result.keys()))
        for part in result.partitions(_AT_ONCE):
            yield "".join(_line([_cell(value) for value in row]) for row in part)


def _line(cells: Sequence[str]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow(cells)
    return written.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
