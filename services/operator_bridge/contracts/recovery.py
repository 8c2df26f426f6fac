"""After the bridge's database was restored: contracts that the redeemer has and that are missing here, or differ.

A person knows what was agreed with an operator, and enters it again. Until then a missing contract is a draft, under
its own id, and one whose state differs is held. Everything else comes back by itself: both logs are read again, orders
are made again under the references that the operator has, and its statement brings what it reported in between.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.operator_bridge.contracts import lifecycle
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.transitions import WORKING
from shared.eventlog.peer_client import Peer
from shared.observability.logs import logger
from shared.process import recovery
from shared.process.runtime import Runtime

_REDEMPTIONS = sa.text("""
    SELECT redemption_id, presentation_id, cheque_id, structure_id, amount_cents, via,
           CASE via WHEN 'operator' THEN contract_id END AS contract_id, given_on, redeemed_at,
           state = 'reversed' AS reversed
    FROM redemption
    WHERE redemption_id > :after
    ORDER BY redemption_id LIMIT :limit
""")

_COLUMNS = ("contract_id", "code", "operator", "programme", "starts_on", "ends_on")


def take_in(runtime: Runtime, peer: Peer) -> int:
    """Restores the contracts that the redeemer has; returns how many were missing. Raises PeerUnavailable."""
    if peer.name != "redeemer":
        return 0
    missing = 0
    for items in recovery.pages(peer, "/v1/recollections/contracts", "contract_id"):
        with runtime.transaction() as session:
            missing += sum(_take_in(session, item) for item in items)
    return missing


def _take_in(session: Session, remembered: Mapping[str, Any]) -> bool:
    contract = session.get(Contract, UUID(remembered["contract_id"]))
    if contract is None:
        row = {name: remembered[name] for name in _COLUMNS}
        made = pg.insert(Contract).values({**row, "state": "draft"}).on_conflict_do_nothing()
        session.execute(made.returning(Contract.contract_id))
        logger().warning("contract_recalled", contract=remembered["code"], was=remembered["state"], now="draft")
        return True
    if contract.state != remembered["state"] and contract.state in WORKING and contract.held_at is None:
        reason = f"restored: it was {remembered['state']} before, and is now held"
        lifecycle.hold(session, contract.contract_id, reason)
    return False


def remembered_redemptions(session: Session, after: UUID) -> list[sa.RowMapping]:
    """The redemptions that the redeemer published, after an id, in pages of `PAGE_SIZE`."""
    return list(session.execute(_REDEMPTIONS, {"after": after, "limit": recovery.PAGE_SIZE}).mappings())
