"""An operator's whole statement in temporary tables of one connection: streamed by COPY, in constant memory."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from services.operator_bridge.interface import ChequeStatus, Line, Paid, Redeemed

_CREATE = sa.text("""
    CREATE TEMPORARY TABLE statement_line (
        cheque_id uuid NOT NULL, status text NOT NULL, value_cents integer NOT NULL, redeemed_cents integer NOT NULL
    );
    CREATE TEMPORARY TABLE statement_redemption (
        reference text NOT NULL, cheque_id uuid NOT NULL, structure_id uuid NOT NULL, amount_cents integer NOT NULL,
        redeemed_at timestamptz NOT NULL
    );
    CREATE TEMPORARY TABLE statement_payment (
        reference text NOT NULL, payment_reference text NOT NULL, paid_on date NOT NULL
    )
""")
_ANALYZE = sa.text("ANALYZE statement_line; ANALYZE statement_redemption; ANALYZE statement_payment")
_COPY_LINES = "COPY statement_line FROM STDIN"
_COPY_REDEMPTIONS = "COPY statement_redemption FROM STDIN"
_COPY_PAYMENTS = "COPY statement_payment FROM STDIN"
_CHEQUE = attrgetter("cheque_id", "status", "value_cents", "redeemed_cents")
_REDEMPTION = attrgetter("reference", "cheque_id", "structure_id", "amount_cents", "redeemed_at")


@contextmanager
def tables(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection with empty tables for a statement; no transaction is open on it while the operator is waited for.

    Its session ends with the block, and its temporary tables with the session: the pool never hands them on.
    """
    with engine.connect() as connection:
        try:
            connection.execute(_CREATE)
            connection.commit()
            yield connection
        finally:
            connection.invalidate()


def load(connection: sa.Connection, parts: Iterable[Sequence[Line]]) -> int:
    """Copies a statement, part by part, and gives the number of its lines; receipts of orders are passed over."""
    lines = 0
    for part in parts:
        _copy(connection, _COPY_LINES, [_CHEQUE(line) for line in part if isinstance(line, ChequeStatus)])
        _copy(connection, _COPY_REDEMPTIONS, [_REDEMPTION(line) for line in part if isinstance(line, Redeemed)])
        payments = [line for line in part if isinstance(line, Paid)]
        paid = [
            (reference, line.payment_reference, line.paid_on) for line in payments for reference in line.redemptions
        ]
        _copy(connection, _COPY_PAYMENTS, paid)
        connection.commit()
        lines += len(part)
    connection.execute(_ANALYZE)
    connection.commit()
    return lines


def _copy(connection: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
