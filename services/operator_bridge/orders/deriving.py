"""The orders that follow from what happened: cheques, redemptions, links and orders, by set.

The logs of issuer and redeemer are applied in any order relative to each other. An order is made as soon as its cause
was read, and waits to be sent for its cheque's link and for the earlier orders of its cheque (`queue`).
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.operator_bridge.orders import creating
from services.operator_bridge.orders.creating import NewOrder
from services.operator_bridge.register.models import Affiliation, Cheque, Redemption
from services.operator_bridge.register.transitions import REDEMPTION, WORKING
from shared.database import engine
from shared.eventlog.event_kinds import StructureAffiliated

_MARK = sa.text("UPDATE cheque SET state = :state WHERE cheque_id = ANY(:cheques)")
_BLOCK = sa.text("UPDATE cheque SET blocked = :blocked WHERE cheque_id = ANY(:cheques)")

# Who pays: the operator whose link the cheque has; of two, during a switch, the one that came last.
_ASSIGN = sa.text("""
    UPDATE redemption SET contract_id = payer.contract_id
    FROM (
        SELECT DISTINCT ON (link.cheque_id) link.cheque_id, link.contract_id
        FROM link JOIN contract USING (contract_id)
        WHERE link.cheque_id = ANY(:cheques) AND link.state IN ('wanted', 'registered')
          AND contract.state = ANY(:working)
        ORDER BY link.cheque_id, contract.live_at DESC
    ) payer
    WHERE redemption.cheque_id = payer.cheque_id AND redemption.contract_id IS NULL AND redemption.state = 'due'
    RETURNING redemption_id
""")

# The operator's report that became a redemption: a payment will name its reference.
_RECOGNISE = sa.text("""
    UPDATE redemption SET reference = report.reference
    FROM report
    WHERE redemption.redemption_id = ANY(:redemptions) AND redemption.via = 'operator'
      AND report.report_id = redemption.presentation_id
""")

_TAKE_BACK = sa.text("""
    UPDATE redemption SET state = 'reversed' WHERE redemption_id = ANY(:redemptions) AND state = ANY(:before)
""")

_LINKS = sa.text("""
    SELECT contract_id, cheque_id FROM link
    WHERE cheque_id = ANY(:cheques) AND contract_id = ANY(:contracts) AND state IN ('wanted', 'registered')
""")

# A cheque that can be spent again and has no operator, or one that takes no new cheques: the next operator gets it.
_ASTRAY = sa.text("""
    SELECT cheque_id FROM cheque WHERE cheque_id = ANY(:cheques) AND state = 'open'
      AND EXISTS (SELECT FROM link WHERE link.cheque_id = cheque.cheque_id)
      AND NOT EXISTS (
            SELECT FROM link JOIN contract USING (contract_id)
            WHERE link.cheque_id = cheque.cheque_id AND link.state <> 'stranded' AND contract.state = 'live')
""")

_LEFT = sa.text("""
    SELECT contract_id, cheque_id FROM link JOIN contract USING (contract_id)
    WHERE cheque_id = ANY(:cheques) AND link.state = 'registered' AND contract.state = 'draining'
      AND contract_id = ANY(:contracts)
      AND EXISTS (
            SELECT FROM link next JOIN contract holder USING (contract_id)
            WHERE next.cheque_id = link.cheque_id AND next.state = 'wanted' AND holder.state = 'live')
""")

_BLOCKED = sa.text("SELECT cheque_id FROM cheque WHERE blocked AND state = 'open' AND cheque_id = ANY(:cheques)")

_AFFILIATED = sa.text("""
    SELECT DISTINCT contract_id, structure_id FROM operator_order
    WHERE structure_id = ANY(:structures) AND cheque_id IS NULL AND kind = 'affiliate' AND contract_id = ANY(:contracts)
""")


def issue(session: Session, cheques: Sequence[Mapping[str, Any]]) -> None:
    """Adds new cheques and orders their registration with the operator of their programme, if it has one."""
    _add(session, Cheque, cheques)
    creating.register(session, [cheque["cheque_id"] for cheque in cheques])


def redeem(session: Session, redemptions: Sequence[Mapping[str, Any]]) -> None:
    """Adds redemptions and orders the declaration of those of our tills to whoever has to pay them."""
    cheques = [redemption["cheque_id"] for redemption in redemptions]
    _add(session, Redemption, redemptions)
    session.execute(_MARK, {"state": "redeemed", "cheques": cheques})
    session.execute(_ASSIGN, {"cheques": cheques, "working": list(WORKING)})
    ids = [redemption["redemption_id"] for redemption in redemptions]
    creating.declare(session, ids)
    recognise(session, ids)


def recognise(session: Session, redemptions: Sequence[UUID]) -> None:
    """Gives redemptions at an operator's till its reference, whichever of redemption and report came first."""
    session.execute(_RECOGNISE, {"redemptions": redemptions})


def reverse(session: Session, reasons: Mapping[UUID, str], cheques: Sequence[UUID]) -> None:
    """Takes redemptions back, by id with the reason, and orders their reversal."""
    creating.reverse(session, reasons)
    session.execute(_TAKE_BACK, {"redemptions": list(reasons), "before": REDEMPTION.before("reversed")})
    session.execute(_MARK, {"state": "open", "cheques": cheques})
    _move_on(session, cheques)


def close(session: Session, state: str, reasons: Mapping[UUID, str]) -> None:
    """Cancels cheques that were cancelled or have expired with their operators."""
    session.execute(_MARK, {"state": state, "cheques": list(reasons)})
    _order(session, "cancel", reasons)


def block(session: Session, kind: str, reasons: Mapping[UUID, str]) -> None:
    """Blocks (`block`) or releases (`unblock`) cheques at the operators' own tills."""
    session.execute(_BLOCK, {"blocked": kind == "block", "cheques": list(reasons)})
    _order(session, kind, reasons)


def affiliate(session: Session, affiliations: Sequence[StructureAffiliated]) -> None:
    """Keeps affiliations, and orders them from the operators of their contracts."""
    _keep(session, affiliations)
    contracts = set(creating.supporting(session, "affiliate", ("draft", *WORKING)))
    orders = [
        NewOrder(affiliation.contract_id, affiliation_details(affiliation), structure_id=affiliation.structure_id)
        for affiliation in affiliations
        if affiliation.contract_id in contracts
    ]
    creating.create(session, "affiliate", orders)


def affiliation_details(affiliation: StructureAffiliated | sa.Row[Any]) -> dict[str, Any]:
    """The details of an order to affiliate a structure, with days as in ISO 8601."""
    starts_on, ends_on = affiliation.starts_on, affiliation.ends_on
    return {
        "siret": affiliation.siret,
        "name": affiliation.name,
        "starts_on": starts_on.isoformat(),
        "ends_on": ends_on.isoformat() if ends_on else None,
    }


def suspend(session: Session, reasons: Mapping[UUID, str]) -> None:
    """Suspends structures with every operator that they were affiliated to."""
    contracts = creating.supporting(session, "suspend", ("draft", *WORKING))
    affiliated = session.execute(_AFFILIATED, {"structures": list(reasons), "contracts": contracts})
    orders = [
        NewOrder(contract_id, {"reason": reasons[structure_id]}, structure_id=structure_id)
        for contract_id, structure_id in affiliated
    ]
    creating.create(session, "suspend", orders)


def catch_up(session: Session, cheques: Sequence[UUID]) -> None:
    """Declares what is due on cheques that were registered with an operator just now, and blocks the blocked."""
    creating.declare(session, session.scalars(_ASSIGN, {"cheques": list(cheques), "working": list(WORKING)}).all())
    blocked = session.scalars(_BLOCKED, {"cheques": list(cheques)})
    _order(session, "block", dict.fromkeys(blocked, "blocked"))


def _add(session: Session, model: type[Cheque | Redemption], rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        values = [list(row.values()) for row in rows]
        engine.insert_rows(session, model, list(rows[0]), values, skip_existing=True)


def _keep(session: Session, affiliations: Sequence[StructureAffiliated]) -> None:
    columns = [column.key for column in Affiliation.__table__.columns]
    last = {(affiliation.contract_id, affiliation.structure_id): affiliation for affiliation in affiliations}
    made = pg.insert(Affiliation)
    changes = {name: made.excluded[name] for name in columns[2:]}
    rows = [{name: getattr(affiliation, name) for name in columns} for affiliation in last.values()]
    session.execute(made.on_conflict_do_update(index_elements=columns[:2], set_=changes), rows)


def _move_on(session: Session, cheques: Sequence[UUID]) -> None:
    """Moves cheques that are open again to the operator that came after theirs, if there is one."""
    astray = list(session.scalars(_ASTRAY, {"cheques": cheques}))
    if astray:
        creating.register(session, astray)
        contracts = creating.supporting(session, "cancel", ("draining",))
        left = session.execute(_LEFT, {"cheques": astray, "contracts": contracts})
        details = {"reason": "moved-to-another-operator"}
        creating.create(session, "cancel", [NewOrder(contract, details, cheque) for contract, cheque in left])


def _order(session: Session, kind: str, reasons: Mapping[UUID, str]) -> None:
    """Orders something of cheques, by id with the reason, from every operator that has them."""
    links = session.execute(_LINKS, {"cheques": list(reasons), "contracts": creating.supporting(session, kind)})
    orders = [NewOrder(contract, {"reason": reasons[cheque]}, cheque) for contract, cheque in links]
    creating.create(session, kind, orders)
