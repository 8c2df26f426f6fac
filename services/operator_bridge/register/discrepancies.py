"""Differences between an operator's records and ours: each found once, with both sides' rows, resolved by a person."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.operator_bridge.register.models_reconciliation import Discrepancy
from shared.database.lookup import get_or_404
from shared.observability.logs import logger
from shared.problems import Conflict
from shared.values import clock

Row = Mapping[str, Any]

CSV = """
    SELECT discrepancy_id, found_at, contract.code AS contract, discrepancy.operator, kind, reference, cheque_id,
           discrepancy.state, ours, theirs, policy, resolved_at, resolved_by, resolver, note
    FROM discrepancy LEFT JOIN contract USING (contract_id)
    WHERE (CAST(:contract_id AS uuid) IS NULL OR contract_id = :contract_id)
      AND (CAST(:state AS text) IS NULL OR discrepancy.state = :state)
      AND (CAST(:kind AS text) IS NULL OR kind = :kind)
    ORDER BY discrepancy_id
"""


def found(
    operator: str, kind: str, reference: str, cheque_id: UUID, ours: Row, theirs: Row, contract_id: UUID | None = None
) -> dict[str, Any]:
    """One difference, to be recorded; `ours` and `theirs` are JSON-ready."""
    return {
        "operator": operator, "kind": kind, "reference": reference, "contract_id": contract_id,
        "cheque_id": cheque_id, "ours": ours, "theirs": theirs,
    }  # fmt: skip


def record(session: Session, differences: Sequence[Row]) -> None:
    """Keeps differences; one that is kept already is left as it is."""
    if differences:
        session.execute(pg.insert(Discrepancy).on_conflict_do_nothing(), list(differences))
        kinds = sorted({difference["kind"] for difference in differences})
        logger().warning("operator_differs", kinds=kinds, count=len(differences))


def find(session: Session, discrepancy_id: UUID) -> Discrepancy:
    """A difference; raises NotFound."""
    return get_or_404(session, Discrepancy, discrepancy_id, "There is no such discrepancy.")


def resolve(session: Session, discrepancy_id: UUID, resolver: str, note: str) -> Discrepancy:
    """Closes a difference as a person decided, whose note says why; it stays as it is and is not opened again for it.

    Raises NotFound, or Conflict where it is resolved already.
    """
    difference = get_or_404(session, Discrepancy, discrepancy_id, "There is no such discrepancy.", lock=True)
    if difference.state == "resolved":
        raise Conflict("This discrepancy is resolved already.", slug="discrepancy-resolved")
    difference.state, difference.resolved_by, difference.resolved_at = "resolved", "person", clock.now()
    difference.resolver, difference.note, difference.accepted = resolver, note, True
    return difference
