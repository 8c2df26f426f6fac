"""Comparing an operator's whole statement with our links: by set, in SQL, in constant memory.

Comparing changes nothing. What is on its way is not compared: a cheque with an order that is not settled, or was
settled after the statement was begun, or with a report that the redeemer has not judged yet.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.operator_bridge import interface, polling
from services.operator_bridge.interface import Line, Period, Standing
from services.operator_bridge.models import Contract
from shared import clock
from shared.runtime import Runtime

_AT_ONCE = 5000
_EXAMPLES = 5
_MOVING = "moving"

_CREATE = sa.text("""
    CREATE TEMPORARY TABLE statement_line (
        cheque_id uuid NOT NULL, status text NOT NULL, value_cents integer NOT NULL, redeemed_cents integer NOT NULL
    )
""")
_DROP = sa.text("DROP TABLE IF EXISTS statement_line, comparison")
_COPY = "COPY statement_line (cheque_id, status, value_cents, redeemed_cents) FROM STDIN"
# A comparison of millions takes longer than any other statement may, and takes every table whole: looking rows up one
# by one, as is done where the statistics still say that a table is small, would take a thousand times as long.
_WHOLE = sa.text("SET LOCAL statement_timeout = '10min'; SET LOCAL enable_nestloop = off")

_COMPARE = sa.text(f"""
    CREATE TEMPORARY TABLE comparison AS
    WITH ours AS (
        SELECT link.cheque_id, cheque.value_cents, coalesce(redemption.amount_cents, 0) AS redeemed_cents,
               CASE WHEN cheque.state IN ('cancelled', 'expired') THEN 'cancelled'
                    WHEN redemption.redemption_id IS NOT NULL THEN 'redeemed'
                    WHEN cheque.blocked THEN 'blocked' ELSE 'registered' END AS status
        FROM link JOIN cheque USING (cheque_id)
        LEFT JOIN redemption ON redemption.cheque_id = link.cheque_id AND redemption.contract_id = link.contract_id
             AND redemption.state IN ('confirmed', 'paid')
        WHERE link.contract_id = :contract AND link.state IN ('registered', 'closed')
    ), moving AS (
        SELECT cheque_id FROM operator_order
        WHERE contract_id = :contract AND cheque_id IS NOT NULL AND (settled_at IS NULL OR settled_at >= :taken_at)
        UNION
        SELECT report.cheque_id FROM report
        WHERE report.contract_id = :contract AND report.contested IS NULL
          AND NOT EXISTS (SELECT FROM redemption WHERE redemption.contract_id = report.contract_id
                          AND redemption.reference = report.reference)
    )
    SELECT coalesce(o.cheque_id, s.cheque_id) AS cheque_id,
           o.status AS our_status, o.value_cents AS our_cents, o.redeemed_cents AS our_redeemed_cents,
           s.status AS their_status, s.value_cents AS their_cents, s.redeemed_cents AS their_redeemed_cents,
           CASE WHEN moving.cheque_id IS NOT NULL THEN '{_MOVING}'
                WHEN s.cheque_id IS NULL THEN 'missing_at_operator'
                WHEN o.cheque_id IS NULL THEN 'unknown_here'
                WHEN o.value_cents <> s.value_cents THEN 'amount_differs'
                WHEN s.status = 'redeemed' AND o.status <> 'redeemed' THEN 'redeemed_there_not_here'
                WHEN o.status = 'redeemed' AND s.status <> 'redeemed' THEN 'redeemed_here_not_there'
                WHEN o.status <> s.status THEN 'status_differs'
                WHEN o.redeemed_cents <> s.redeemed_cents THEN 'amount_differs' END AS kind
    FROM ours o FULL JOIN statement_line s USING (cheque_id)
    LEFT JOIN moving ON moving.cheque_id = coalesce(o.cheque_id, s.cheque_id)
""")  # noqa: S608 (a constant of this module)

_TOTALS = sa.text("""
    SELECT count(our_status) AS our_cheques, coalesce(sum(our_cents), 0) AS our_cents,
           coalesce(sum(our_redeemed_cents), 0) AS our_redeemed_cents,
           count(their_status) AS their_cheques, coalesce(sum(their_cents), 0) AS their_cents,
           coalesce(sum(their_redeemed_cents), 0) AS their_redeemed_cents
    FROM comparison
""")
_DIFFERENCES = sa.text("""
    SELECT kind, count(*) AS count,
           jsonb_agg(to_jsonb(ranked) - 'kind' - 'rank' ORDER BY rank) FILTER (WHERE rank <= :examples) AS examples
    FROM (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY cheque_id) AS rank
          FROM comparison WHERE kind IS NOT NULL) ranked
    GROUP BY kind ORDER BY kind
""")


@dataclass(frozen=True)
class Comparison:
    """A statement beside our register; amounts in cents of EUR."""

    taken_at: datetime
    compared: bool
    """Whether there is a statement at all."""
    totals: Mapping[str, int] = field(default_factory=dict)
    moving: int = 0
    """Cheques that were not compared, as something about them is on its way."""
    count: int = 0
    """How many cheques differ."""
    differences: Sequence[Mapping[str, Any]] = ()
    """By kind, how many and the first examples with both sides."""


def compare(runtime: Runtime, contract_id: UUID) -> Comparison:
    """Compares the whole statement of a contract with our register; raises Unavailable where it cannot be had whole."""
    taken_at = clock.now()
    with runtime.transaction() as session:
        contract = session.get_one(Contract, contract_id)
    operator = interface.connect(contract.operator, runtime.settings.operators)
    if not operator.has_statement:
        return Comparison(taken_at, compared=False)
    with _temporary_tables(runtime.engine) as connection:
        for part in polling.parts(operator, Period(contract.code), _AT_ONCE):
            _copy(connection, part)
        connection.execute(_WHOLE)
        connection.execute(_COMPARE, {"contract": contract_id, "taken_at": taken_at})
        totals = connection.execute(_TOTALS).one()._asdict()
        found = [row._asdict() for row in connection.execute(_DIFFERENCES, {"examples": _EXAMPLES})]
    differences = [row for row in found if row["kind"] != _MOVING]
    moving = sum(row["count"] for row in found if row["kind"] == _MOVING)
    return Comparison(taken_at, True, totals, moving, sum(row["count"] for row in differences), differences)


@contextmanager
def _temporary_tables(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection with tables of its own; no transaction is open on it while the operator is waited for."""
    with engine.connect() as connection:
        connection.execute(_DROP)
        connection.execute(_CREATE)
        connection.commit()
        yield connection
        connection.execute(_DROP)
        connection.commit()


def _copy(connection: sa.Connection, part: Sequence[Line]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(_COPY) as copy:
        for line in part:
            if isinstance(line, Standing):
                copy.write_row((line.cheque_id, line.status, line.value_cents, line.redeemed_cents))
    driver.commit()
