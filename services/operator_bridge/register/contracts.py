"""Contracts as every room finds them."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.operator_bridge.register.models import Contract
from shared.database.lookup import get_or_404


def find(session: Session, contract_id: UUID, *, lock: bool = False) -> Contract:
    """A contract, its row locked if `lock` is set; raises NotFound."""
    return get_or_404(session, Contract, contract_id, "There is no such contract.", lock=lock)
