"""What the redeemer and the bridge tell of training structures and their contracts."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from shared.values import clock
from shared.values.ids import new_id

Told = tuple[str, Mapping[str, Any]]


def contract(contract_id: UUID, programme: str = "pass") -> Told:
    """The bridge's news of a contract for a programme."""
    body = {"code": "c", "operator": "somebody", "state": "live", "starts_on": clock.today(), "ends_on": None}
    return "contract.changed", {"contract_id": contract_id, "programme": programme, **body}


def place(**changes: Any) -> dict[str, Any]:
    """Where a structure is and what it offers."""
    return {
        "address": "2 rue du Pont",
        "postcode": "47000",
        "commune": "Agen",
        "insee_code": "47001",
        "latitude": None,
        "longitude": None,
        "services": [],
        "phone": None,
    } | changes


def affiliated(contract_id: UUID, name: str, structure_id: UUID | None = None, **changes: Any) -> Told:
    """The redeemer's news that a structure is affiliated to a contract."""
    days = {"starts_on": changes.pop("starts_on", clock.today()), "ends_on": changes.pop("ends_on", None)}
    known = {"structure_id": structure_id or new_id(), "siret": None, "name": name, "contract_id": contract_id}
    return "structure.affiliated", known | days | place(**changes)


def described(structure_id: UUID, name: str, **changes: Any) -> Told:
    """The redeemer's news of a structure that was told of before."""
    return "structure.described", {"structure_id": structure_id, "name": name, **place(**changes)}


def suspended(structure_id: UUID) -> Told:
    """The redeemer's news that a structure is suspended."""
    return "structure.suspended", {"structure_id": structure_id, "reason": "Under review."}
