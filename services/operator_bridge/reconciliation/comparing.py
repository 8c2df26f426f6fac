"""Comparing an operator's whole statement with our links: by set, in SQL, in constant memory.

Comparing changes nothing. What is on its way is not compared (moving.sql); what becomes of the differences is decided
in `runs` and `auto_resolution`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.interface import Line, NumberedCheque, Operator, Period
from services.operator_bridge.reconciliation import statement_loading
from services.operator_bridge.register.models import Contract
from shared.database import sql_files
from shared.process.runtime import Runtime
from shared.values import clock

KINDS = (
    "missing_at_operator", "unknown_here", "amount_differs", "status_differs", "redeemed_twice",
    "redeemed_there_not_here", "paid_not_redeemed", "redeemed_not_paid_in_time",
)  # fmt: skip
"""Every kind of difference between an operator's statement and our register."""

_BATCH_SIZE = 5000
_MAX_EXAMPLES = 5
# Operators pay within this time of the declaration: as long as French public buyers have (décret 2013-269).
_PAYMENT_TERM = timedelta(days=30)
# A comparison of millions takes longer than any other statement may, and takes every table whole: looking rows up one
# by one, as is done where the statistics still say that a table is small, would take a thousand times as long.
_WHOLE_TABLES = sa.text("""
    SET LOCAL statement_timeout = '10min'; SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB'
""")

_CREATE_DIFFERENCE = sa.text("""
    CREATE TEMPORARY TABLE difference (
        kind text NOT NULL, reference text NOT NULL, cheque_id uuid, ours jsonb NOT NULL, theirs jsonb NOT NULL,
        PRIMARY KEY (kind, reference)
    )
""")
_MOVING, _COMPARISON, *_DIFFERENCES = (
    sa.text(sql_files.load(__file__, f"{name}.sql"))
    for name in (
        "moving", "comparison", *(f"difference_{part}" for part in ("cheques", "redemptions", "payments", "overdue"))
    )
)  # fmt: skip

_TOTALS = sa.text("""
    SELECT count(our_status) AS our_cheques, coalesce(sum(our_cents), 0) AS our_cents,
           coalesce(sum(our_redeemed_cents), 0) AS our_redeemed_cents,
           count(their_status) AS their_cheques, coalesce(sum(their_cents), 0) AS their_cents,
           coalesce(sum(their_redeemed_cents), 0) AS their_redeemed_cents
    FROM comparison
""")
_COUNT_MOVING = sa.text("SELECT count(*) FROM comparison WHERE moving")
_BY_KIND = sa.text("SELECT kind, count(*) AS number FROM difference GROUP BY kind ORDER BY kind")
_EXAMPLES = sa.text("""
    SELECT kind, count(*) AS count,
           jsonb_agg(to_jsonb(ranked) - 'kind' - 'rank' ORDER BY rank) FILTER (WHERE rank <= :examples) AS examples
    FROM (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY reference) AS rank FROM difference) ranked
    GROUP BY kind ORDER BY kind
""")
_BY_STATUS = """
    SELECT {side}_status AS status, count(*) AS number, sum({side}_cents)::bigint AS cents,
           sum({side}_redeemed_cents)::bigint AS redeemed_cents
    FROM comparison WHERE {side}_status IS NOT NULL GROUP BY 1 ORDER BY 1
"""

_NUMBERED = sa.text("""
    SELECT link.cheque_id, link.number, cheque.value_cents FROM link JOIN cheque USING (cheque_id)
    WHERE link.contract_id = :contract AND link.state IN ('registered', 'closed') AND link.number IS NOT NULL
      AND link.cheque_id > :after
    ORDER BY link.cheque_id LIMIT :limit
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
    """How many differences there are."""
    differences: Sequence[Mapping[str, Any]] = ()
    """By kind, how many and the first examples with both sides."""


@dataclass(frozen=True)
class Sides:
    """The contract and the operator to be compared."""

    contract: Contract
    operator: Operator
    statement_date: datetime
    """The instant that the statement describes."""
    comparable: bool
    """Whether the operator has a statement of cheques, and has it already."""
    cheques: Iterable[NumberedCheque] = ()
    """The cheques to request, where the operator answers for single cheques only."""


def sides(runtime: Runtime, contract_id: UUID) -> Sides:
    """A contract and its operator, to be compared now; raises Unavailable."""
    with runtime.transaction() as session:
        contract = session.get_one(Contract, contract_id)
    operator = lookup.connect(contract.operator, runtime.settings.operators)
    date = statement_polling.statement_date(operator, contract.code)
    comparable = date is not None and (operator.has_statement or operator.by_status)
    cheques = _numbered_cheques(runtime, contract_id) if operator.by_status else ()
    return Sides(contract, operator, date or clock.now(), comparable, cheques)


def compare(runtime: Runtime, contract_id: UUID) -> Comparison:
    """The differences between a contract's whole statement and our register.

    Raises Unavailable where the operator does not give its statement whole.
    """
    both = sides(runtime, contract_id)
    if not both.comparable:
        return Comparison(both.statement_date, compared=False)
    with compared(runtime.engine, both, statement(both)) as (connection, _):
        differences = [row._asdict() for row in connection.execute(_EXAMPLES, {"examples": _MAX_EXAMPLES})]
        totals = connection.execute(_TOTALS).one()._asdict()
        count = sum(difference["count"] for difference in differences)
        moving = connection.execute(_COUNT_MOVING).scalar_one()
        return Comparison(both.statement_date, True, totals, moving, count, differences)


def statement(both: Sides) -> Iterator[Sequence[Line]]:
    """The operator's whole statement, part by part; raises Unavailable."""
    return statement_polling.parts(both.operator, Period(both.contract.code, cheques=both.cheques), _BATCH_SIZE)


def _numbered_cheques(runtime: Runtime, contract_id: UUID) -> Iterator[NumberedCheque]:
    """The cheques that have numbers of the operator's; no transaction is open between two of them."""
    after = UUID(int=0)
    while True:
        with runtime.transaction() as session:
            rows = session.execute(_NUMBERED, {"contract": contract_id, "after": after, "limit": _BATCH_SIZE}).all()
        if not rows:
            return
        yield from (NumberedCheque(row.cheque_id, row.number, row.value_cents) for row in rows)
        after = rows[-1].cheque_id


@contextmanager
def compared(engine: sa.Engine, both: Sides, parts: Iterator[Sequence[Line]]) -> Iterator[tuple[sa.Connection, int]]:
    """A connection with the temporary tables `moving`, `comparison` and `difference`, and the number of lines compared.

    `moving` holds the cheques that are not compared, `comparison` every cheque of either side beside the other,
    `difference` a row for each difference, with both sides' rows as JSON.
    """
    params = {
        "contract": both.contract.contract_id,
        "operator": both.contract.operator,
        "taken_at": both.statement_date,
        "overdue": both.statement_date - _PAYMENT_TERM,
        "lists_payments": both.operator.has_statement,
        "blocks": "block" in both.operator.supported_orders,
    }
    with statement_loading.tables(engine) as connection:
        lines = statement_loading.load(connection, parts)
        connection.execute(_WHOLE_TABLES)
        for query in (_MOVING, _COMPARISON, _CREATE_DIFFERENCE, *_DIFFERENCES):
            connection.execute(query, params)
        yield connection, lines


def figures(connection: sa.Connection) -> dict[str, Any]:
    """How many cheques were not compared and how many differ by kind; by status both sides' number and cents."""
    return {
        "moving": connection.execute(_COUNT_MOVING).scalar_one(),
        "ours": _by_status(connection, "our"),
        "theirs": _by_status(connection, "their"),
        "differences": {row.kind: row.number for row in connection.execute(_BY_KIND)},
    }


def _by_status(connection: sa.Connection, side: Literal["our", "their"]) -> dict[str, dict[str, int]]:
    rows = connection.execute(sa.text(_BY_STATUS.format(side=side))).mappings()
    return {row["status"]: {name: row[name] for name in ("number", "cents", "redeemed_cents")} for row in rows}
