"""Moving cheques and redemptions between contracts: by set, part by part, in transactions in which nobody else orders.

Rows that were moved are not found again, so a worker that takes over from one that was interrupted moves the rest. No
link is rewritten: the old one is closed or stranded and a new one made. The orders of a switch carry its id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.orders import consequences, creating, deriving, outcomes
from services.operator_bridge.orders.creating import NewOrder
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.models_switch import Switch
from services.operator_bridge.register.transitions import LINK, ORDER, REDEMPTION, UNFINISHED
from shared.database import sql_files
from shared.eventlog import log
from shared.process.runtime import Runtime

MOVED = "moved-to-another-operator"
FAILED = "operator-failed"

_STRAND = sa.text(sql_files.load(__file__, "strand.sql"))

_STRAND_REDEMPTIONS = sa.text("""
    WITH chosen AS (
        SELECT redemption_id FROM redemption WHERE contract_id = :old AND state = ANY(:before) LIMIT :limit
    )
    UPDATE redemption SET state = 'stranded' FROM chosen WHERE redemption.redemption_id = chosen.redemption_id
    RETURNING redemption.redemption_id
""")

_UNSETTLED = sa.text("""
    SELECT order_id FROM operator_order WHERE contract_id = :old AND state = ANY(:before) LIMIT :limit FOR UPDATE
""")

# The structures of the programme that the new operator does not know: of several affiliations the old contract's.
_UNKNOWN_STRUCTURES = sa.text("""
    SELECT affiliated.structure_id, siret, name, starts_on, ends_on
    FROM (
        SELECT DISTINCT ON (structure_id) affiliation.* FROM affiliation JOIN contract USING (contract_id)
        WHERE contract.programme = :programme
        ORDER BY structure_id, contract_id = :old DESC, starts_on DESC
    ) affiliated
    WHERE NOT EXISTS (SELECT FROM operator_order o WHERE o.structure_id = affiliated.structure_id
                      AND o.contract_id = :new AND o.kind = 'affiliate')
    ORDER BY affiliated.structure_id
""")

_SUSPENDED = sa.text("""
    SELECT structure_id, details
    FROM (
        SELECT DISTINCT ON (structure_id) structure_id, kind, details FROM operator_order
        WHERE contract_id = :old AND structure_id IS NOT NULL AND cheque_id IS NULL
        ORDER BY structure_id, sequence DESC
    ) last
    WHERE kind = 'suspend' AND NOT EXISTS (SELECT FROM operator_order o WHERE o.structure_id = last.structure_id
                                           AND o.contract_id = :new AND o.kind = 'suspend')
""")

_SPENDABLE = sa.text("""
    SELECT cheque_id FROM cheque
    WHERE programme = :programme AND state = 'open' AND cheque_id > :after
      AND NOT EXISTS (SELECT FROM link WHERE link.cheque_id = cheque.cheque_id AND link.contract_id = :new)
      AND NOT EXISTS (
            SELECT FROM link JOIN contract USING (contract_id) WHERE link.cheque_id = cheque.cheque_id
            AND contract.state = 'live' AND link.state IN ('wanted', 'registered'))
    ORDER BY cheque_id LIMIT :limit
""")

_BLOCKED = sa.text("SELECT cheque_id FROM cheque WHERE blocked AND state = 'open' AND cheque_id = ANY(:cheques)")

_UNPAID = sa.text("""
    SELECT redemption_id, cheque_id FROM redemption JOIN cheque USING (cheque_id)
    WHERE programme = :programme
      AND ((contract_id = :old AND redemption.state = :movable) OR (contract_id IS NULL AND redemption.state = 'due'))
    ORDER BY redemption_id LIMIT :limit FOR UPDATE OF redemption
""")

_REASSIGN = sa.text("""
    UPDATE redemption SET state = 'due', contract_id = :new, reference = NULL WHERE redemption_id = ANY(:redemptions)
""")

# The next cheques of the old operator, and which of them another one has now while the old one is not to pay for them.
# By ids and in sets of their own: after so many rows were moved the statistics are wrong, and a join that is planned by
# them may read all links of a contract for each cheque.
_HELD = sa.text("""
    SELECT cheque_id FROM link WHERE contract_id = :old AND state = 'registered' AND cheque_id > :after
    ORDER BY cheque_id LIMIT :limit
""")

_LEFT = sa.text("""
    SELECT cheque_id FROM link WHERE cheque_id = ANY(:cheques) AND state = 'registered' AND contract_id <> :old
       AND contract_id IN (SELECT contract_id FROM contract WHERE state = 'live')
    EXCEPT SELECT cheque_id FROM redemption WHERE cheque_id = ANY(:cheques) AND contract_id = :old
       AND state IN ('confirmed', 'paid')
    EXCEPT SELECT cheque_id FROM operator_order WHERE cheque_id = ANY(:cheques) AND contract_id = :old
       AND kind = 'cancel'
    ORDER BY cheque_id
""")

_IDS_AN_EVENT = 1000


@dataclass(frozen=True)
class Work:
    """A running switch, with its contracts; it moves the cheques of `old` to `new`, `batch_size` rows a transaction."""

    runtime: Runtime
    switch: Switch
    old: Contract
    new: Contract
    payer: Contract
    batch_size: int

    @property
    def takers(self) -> list[Contract]:
        """The contracts that take over, mostly one. The paying one comes first, so that new cheques go to the other."""
        return [self.new] if self.new is self.payer else [self.payer, self.new]

    def to(self, contract: Contract) -> "Work":
        """The same, moving to another contract."""
        return replace(self, new=contract)

    @property
    def failed(self) -> bool:
        """Whether the old operator is dead."""
        return self.switch.mode == "failure"

    @property
    def details(self) -> dict[str, str]:
        """The details by which the orders of a switch are found."""
        return {"switch": str(self.switch.switch_id)}

    def params(self, **more: Any) -> dict[str, Any]:
        """The parameters of every statement here."""
        return {
            "switch": self.switch.switch_id, "programme": self.old.programme, "limit": self.batch_size,
            "old": self.old.contract_id, "new": self.new.contract_id, **more,
        }  # fmt: skip

    def old_links(self, cheques: Iterable[UUID]) -> list[dict[str, UUID]]:
        """The links of cheques with the old contract."""
        return [{"contract_id": self.old.contract_id, "cheque_id": cheque_id} for cheque_id in cheques]


def strand(session: Session, work: Work) -> int:
    """Strands links with an operator that failed, and claims for the registered ones; gives their number."""
    return len(session.scalars(_STRAND, work.params(before=LINK.before("stranded"))).all())


def strand_redemptions(session: Session, work: Work) -> int:
    """Strands redemptions that an operator that failed has not paid, and publishes that; gives their number."""
    params = work.params(before=REDEMPTION.before("stranded"))
    stranded: list[UUID] = list(session.scalars(_STRAND_REDEMPTIONS, params))
    for start in range(0, len(stranded), _IDS_AN_EVENT):
        body = {"contract_id": work.old.contract_id, "redemption_ids": stranded[start : start + _IDS_AN_EVENT]}
        log.append(session, "redemptions.stranded", work.old.contract_id, body)
    return len(stranded)


def give_up(session: Session, work: Work) -> int:
    """Ends the orders that an operator that failed has not settled; gives their number."""
    # A late answer to such an order changes nothing: its cheque is stranded and claimed.
    states = [state for state in ORDER.before("refused") if state in UNFINISHED]
    unsettled = session.scalars(_UNSETTLED, work.params(before=states)).all()
    return len(outcomes.refuse(session, unsettled, FAILED, states))


def introduce(session: Session, work: Work) -> None:
    """Orders the affiliation of the programme's structures, and their suspension, from the new operator."""
    supported = lookup.adapter(work.new.operator).supported_orders
    if "affiliate" in supported:
        structures = session.execute(_UNKNOWN_STRUCTURES, work.params())
        details = {row.structure_id: deriving.affiliation_details(row) for row in structures}
        _order(session, work, "affiliate", details)
    if "suspend" in supported:
        suspended = session.execute(_SUSPENDED, work.params())
        _order(session, work, "suspend", {row.structure_id: row.details for row in suspended})


def register(session: Session, work: Work, after: UUID) -> UUID | None:
    """Registers under the new contract the next spendable cheques that no live one has; gives the last, if any."""
    cheques: list[UUID] = list(session.scalars(_SPENDABLE, work.params(after=after)))
    if not cheques:
        return None
    creating.register(session, cheques, work.new.contract_id, work.details)
    if "block" in lookup.adapter(work.new.operator).supported_orders:
        details = {"reason": "blocked", **work.details}
        blocked = session.scalars(_BLOCKED, {"cheques": cheques})
        creating.create(session, "block", [NewOrder(work.new.contract_id, details, cheque) for cheque in blocked])
    _close_wanted(session, work, cheques)
    return cheques[-1]


def redeclare(session: Session, work: Work, movable: str) -> int:
    """Declares the next redemptions again, `movable` under the old contract or due under none; gives their number."""
    rows = session.execute(_UNPAID, work.params(movable=movable)).all()
    cheques, redemptions = [row.cheque_id for row in rows], [row.redemption_id for row in rows]
    if not rows:
        return 0
    old, new = work.old.contract_id, work.new.contract_id
    outcomes.withdraw(session, [(old, row.cheque_id, row.redemption_id) for row in rows], MOVED)
    creating.register(session, cheques, new, work.details)
    _close_wanted(session, work, cheques)
    session.execute(_REASSIGN, work.params(redemptions=redemptions))
    if "declare" in lookup.adapter(work.new.operator).supported_orders:
        creating.declare(session, redemptions, [new], ("till", "operator"), work.details)
    return len(rows)


def leave(session: Session, work: Work, after: UUID) -> UUID | None:
    """Cancels with the old operator those of its next cheques that another has now; gives the last of them, if any."""
    cheques: list[UUID] = list(session.scalars(_HELD, work.params(after=after)))
    if not cheques:
        return None
    left = session.scalars(_LEFT, work.params(cheques=cheques)).all()
    if "cancel" in lookup.adapter(work.old.operator).supported_orders:
        orders = [NewOrder(work.old.contract_id, {"reason": MOVED}, cheque_id) for cheque_id in left]
        creating.create(session, "cancel", orders)
    else:
        consequences.move_links(session, "closed", work.old_links(left))
    return cheques[-1]


def _order(session: Session, work: Work, kind: str, structures: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Orders something of structures, by id with the details, from the new operator."""
    orders = [
        NewOrder(work.new.contract_id, {**details, **work.details}, structure_id=structure_id)
        for structure_id, details in structures.items()
    ]
    creating.create(session, kind, orders)


def _close_wanted(session: Session, work: Work, cheques: Sequence[UUID]) -> None:
    """Withdraws the orders for those of the cheques that the old operator has not registered yet."""
    closed = consequences.move_links(session, "closed", work.old_links(cheques), ["wanted"])
    outcomes.withdraw(session, [(work.old.contract_id, link["cheque_id"], None) for link in closed], MOVED)
