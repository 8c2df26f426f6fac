"""An operator's whole statement in temporary tables of one connection: streamed by COPY, in constant memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
_COPY: Mapping[str, str] = {
    "line": "COPY statement_line (cheque_id, status, value_cents, redeemed_cents) FROM STDIN",
    "redemption": """
        COPY statement_redemption (reference, cheque_id, structure_id, amount_cents, redeemed_at) FROM STDIN
    """,
    "payment": "COPY statement_payment (reference, payment_reference, paid_on) FROM STDIN",
}


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


def gather(connection: sa.Connection, parts: Iterable[Sequence[Line]]) -> int:
    """Copies a statement, part by part, and says how many lines it had; outcomes of orders are passed over."""
    lines = 0
    for part in parts:
        _copy(connection, "line", _standings(part))
        _copy(connection, "redemption", _redemptions(part))
        _copy(connection, "payment", _payments(part))
        connection.commit()
        lines += len(part)
    connection.execute(_ANALYZE)
    connection.commit()
    return lines


def _standings(part: Sequence[Line]) -> list[tuple[Any, ...]]:
    return [
        (line.cheque_id, line.status, line.value_cents, line.redeemed_cents)
        for line in part
        if isinstance(line, ChequeStatus)
    ]


def _redemptions(part: Sequence[Line]) -> list[tuple[Any, ...]]:
    return [
        (line.reference, line.cheque_id, line.structure_id, line.amount_cents, line.redeemed_at)
        for line in part
        if isinstance(line, Redeemed)
    ]


def _payments(part: Sequence[Line]) -> list[tuple[Any, ...]]:
    return [
        (reference, line.payment_reference, line.paid_on)
        for line in part
        if isinstance(line, Paid)
        for reference in line.redemptions
    ]


def _copy(connection: sa.Connection, what: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(_COPY[what]) as copy:
        for row in rows:
            copy.write_row(row)
