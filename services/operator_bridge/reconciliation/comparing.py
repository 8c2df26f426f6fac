"""Comparing an operator's whole statement with our links: by set, in SQL, in constant memory.

Comparing changes nothing. What is on its way is not compared: a cheque with an order that is not settled, or was
settled after the statement was begun, or with a report that the redeemer has not judged yet. What becomes of the
differences is decided elsewhere (`recording`, `policies`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.interface import Line, NumberedCheque, Operator, Period
from services.operator_bridge.operators import lookup
from services.operator_bridge.reconciliation import comparison_sql, statement_loading
from services.operator_bridge.register import numbered_cheques
from services.operator_bridge.register.models import Contract
from shared.process.runtime import Runtime
from shared.values import clock

KINDS = (
    "missing_at_operator",
    "unknown_here",
    "amount_differs",
    "status_differs",
    "redeemed_twice",
    "redeemed_there_not_here",
    "paid_not_redeemed",
    "redeemed_not_paid_in_time",
)
"""Everything in which an operator's word may differ from ours."""

_AT_ONCE = 5000
_EXAMPLES = 5
# Operators pay within this time of the declaration: as long as French public buyers have (décret 2013-269).
_PAYMENT_TERM = timedelta(days=30)
# A comparison of millions takes longer than any other statement may, and takes every table whole: looking rows up one
# by one, as is done where the statistics still say that a table is small, would take a thousand times as long.
_WHOLE = sa.text("""
    SET LOCAL statement_timeout = '10min'; SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB'
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
    """Who is compared, and what instant the operator's statement is of."""

    contract: Contract
    operator: Operator
    taken_at: datetime
    comparable: bool
    """Whether the operator says how cheques stand, at all and yet."""
    cheques: Iterable[NumberedCheque] = ()
    """Those to be asked for, where it is asked one by one."""


def sides(runtime: Runtime, contract_id: UUID) -> Sides:
    """A contract and its operator, to be compared now."""
    with runtime.transaction() as session:
        contract = session.get_one(Contract, contract_id)
    operator = lookup.connect(contract.operator, runtime.settings.operators)
    statement_date = statement_polling.statement_date(operator, contract.code)
    able = statement_date is not None and (operator.has_statement or operator.by_status)
    asked = numbered_cheques.cheques(runtime, contract_id) if operator.by_status else ()
    return Sides(contract, operator, statement_date or clock.now(), able, asked)


def compare(runtime: Runtime, contract_id: UUID) -> Comparison:
    """Compares the whole statement of a contract with our register; raises Unavailable where it cannot be had whole."""
    between = sides(runtime, contract_id)
    if not between.comparable:
        return Comparison(between.taken_at, compared=False)
    with compared(runtime.engine, between, statement(between)) as (connection, _):
        return Comparison(
            between.taken_at,
            True,
            connection.execute(comparison_sql.TOTALS).one()._asdict(),
            moving(connection),
            connection.execute(comparison_sql.COUNT).scalar_one(),
            [row._asdict() for row in connection.execute(comparison_sql.EXAMPLES, {"examples": _EXAMPLES})],
        )


def statement(between: Sides) -> Iterator[Sequence[Line]]:
    """The operator's whole statement, part by part."""
    return statement_polling.parts(between.operator, Period(between.contract.code, cheques=between.cheques), _AT_ONCE)


@contextmanager
def compared(engine: sa.Engine, between: Sides, parts: Iterator[Sequence[Line]]) -> Iterator[tuple[sa.Connection, int]]:
    """A connection on which `comparison` and `difference` are temporary tables, and how many lines were compared."""
    given = {
        "contract": between.contract.contract_id,
        "operator": between.contract.operator,
        "taken_at": between.taken_at,
        "overdue": between.taken_at - _PAYMENT_TERM,
        "tells_payments": between.operator.has_statement,
        "blocks": "block" in between.operator.supported_orders,
    }
    with statement_loading.tables(engine) as connection:
        lines = statement_loading.gather(connection, parts)
        connection.execute(_WHOLE)
        for statement in (comparison_sql.MOVING, comparison_sql.COMPARE, *comparison_sql.DIFFER):
            connection.execute(statement, given)
        yield connection, lines


def moving(connection: sa.Connection) -> int:
    """How many cheques were not compared."""
    return int(connection.execute(comparison_sql.MOVED).scalar_one())


def by_status(connection: sa.Connection, side: str) -> dict[str, dict[str, int]]:
    """What one side (`our`, `their`) has: by status number, cents and redeemed cents."""
    rows = connection.execute(comparison_sql.BY_STATUS[side])
    return {row.status: {"number": row.number, "cents": row.cents, "redeemed_cents": row.redeemed} for row in rows}


def by_kind(connection: sa.Connection) -> dict[str, int]:
    """How many differences there are of each kind."""
    return {row.kind: row.number for row in connection.execute(comparison_sql.BY_KIND)}
