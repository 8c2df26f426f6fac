"""The cheques that we hold to be with an operator, for one that has to be asked of each."""

from collections.abc import Iterator
from uuid import UUID

import sqlalchemy as sa

from services.operator_bridge.interface import NumberedCheque
from shared.process.runtime import Runtime

BATCH_SIZE = 1000

_NUMBERED = sa.text("""
    SELECT link.cheque_id, link.number, cheque.value_cents FROM link JOIN cheque USING (cheque_id)
    WHERE link.contract_id = :contract AND link.state IN ('registered', 'closed') AND link.number IS NOT NULL
      AND (CAST(:after AS uuid) IS NULL OR link.cheque_id > :after)
    ORDER BY link.cheque_id LIMIT :limit
""")


def cheques(runtime: Runtime, contract_id: UUID) -> Iterator[NumberedCheque]:
    """The cheques of a contract that have numbers of the operator's; no transaction is open between two of them."""
    after: UUID | None = None
    while True:
        with runtime.transaction() as session:
            rows = session.execute(_NUMBERED, {"contract": contract_id, "after": after, "limit": BATCH_SIZE}).all()
        if not rows:
            return
        yield from (NumberedCheque(row.cheque_id, row.number, row.value_cents) for row in rows)
        after = rows[-1].cheque_id
