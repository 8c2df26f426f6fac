"""What may be settled without a person, through the same doors as everything else: push again, apply a missed event.

A policy acts once on a difference and writes down what it did; the next comparison shows whether that settled it, and
what it did not settle waits for a person. Where so much differs that the statement itself must be doubted, none acts.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.inbound import applying
from services.operator_bridge.interface import Paid, Redeemed
from services.operator_bridge.orders import outcomes
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.models_reconciliation import Discrepancy
from services.operator_bridge.register.transitions import WORKING
from shared.process.runtime import Runtime

SENT_AGAIN = "sent_again"
"""The orders that the operator has lost were sent again, under the references that it knows."""
APPLIED = "applied"
"""Events on the operator's statement that no message brought were applied."""
WITHOUT_VALUE = "without_value"
"""A cheque that was cancelled here and does not exist there: neither side can lose by it."""

_MAX_DIFFERENCES = 1000
_MAX_SHARE = 0.01
# Orders have no index by cheque, which only this would need: each batch reads them once.
_BATCH_SIZE = 5000

# Which orders make good which difference: those of the kinds listed, the last of each, if the operator took them. What
# is `needed` and was never taken leaves the difference to a person. So does a spent cheque that is missing: registered
# again, it could be spent again at the operator's till before it is declared again.
_REMEDIES = """
    VALUES ('missing_at_operator', 'registered', NULL, 'register', true),
           ('missing_at_operator', 'registered', NULL, 'activate', false),
           ('missing_at_operator', 'blocked', NULL, 'register', true),
           ('missing_at_operator', 'blocked', NULL, 'activate', false),
           ('missing_at_operator', 'blocked', NULL, 'block', false),
           ('status_differs', 'cancelled', 'registered', 'cancel', true),
           ('status_differs', 'cancelled', 'blocked', 'cancel', true),
           ('status_differs', 'blocked', 'registered', 'block', true),
           ('status_differs', 'registered', 'blocked', 'unblock', true),
           ('status_differs', 'redeemed', 'registered', 'declare', true)
"""

_REMEDIES_ORDERED = sa.text(f"""
    WITH remedy (kind, our_status, their_status, order_kind, needed) AS ({_REMEDIES}), chosen AS (
        SELECT discrepancy_id, cheque_id, kind, ours ->> 'status' AS our_status, theirs ->> 'status' AS their_status
        FROM discrepancy WHERE discrepancy_id = ANY(:discrepancies)
    ), found AS (
        SELECT DISTINCT ON (chosen.discrepancy_id, remedy.order_kind)
               chosen.discrepancy_id, remedy.needed, o.order_id
        FROM chosen
        JOIN remedy ON remedy.kind = chosen.kind AND remedy.our_status = chosen.our_status
             AND remedy.their_status IS NOT DISTINCT FROM chosen.their_status
        LEFT JOIN redemption r ON r.cheque_id = chosen.cheque_id AND r.contract_id = :contract
             AND r.state = 'confirmed'
        LEFT JOIN operator_order o ON o.cheque_id = chosen.cheque_id AND o.contract_id = :contract
             AND o.kind = remedy.order_kind AND o.state = 'accepted'
             AND (o.kind <> 'declare' OR o.order_id::text = r.reference)
        ORDER BY chosen.discrepancy_id, remedy.order_kind, o.sequence DESC NULLS LAST
    ), complete AS (
        SELECT discrepancy_id FROM found GROUP BY discrepancy_id
        HAVING bool_and(order_id IS NOT NULL OR NOT needed)
    )
    SELECT discrepancy_id, order_id FROM found JOIN complete USING (discrepancy_id)
""")  # noqa: S608 (a constant of this module)

_WITHOUT_VALUE = sa.text("""
    UPDATE discrepancy SET state = 'resolved', policy = :policy, resolved_by = 'policy', accepted = true,
                           resolved_at = clock_timestamp()
    WHERE discrepancy_id = ANY(:discrepancies) AND ours ->> 'status' = 'cancelled'
    RETURNING discrepancy_id
""")

_ACTED = sa.text("""
    UPDATE discrepancy SET policy = :policy, state = CASE WHEN kind = ANY(:certain) THEN 'settling' ELSE state END
    WHERE discrepancy_id = ANY(:discrepancies)
""")

# An applied event settles these. The others stay for a person: two took one cheque, or a payment has no ground.
_CERTAIN = ["missing_at_operator", "status_differs", "redeemed_there_not_here"]


def settle(runtime: Runtime, contract: Contract, reconciliation_id: UUID) -> int:
    """Settles the differences of a comparison that policy may settle, batch by batch; gives the number it acted on."""
    chosen = sa.select(Discrepancy).where(
        Discrepancy.reconciliation_id == reconciliation_id, Discrepancy.state == "waiting", Discrepancy.policy.is_(None)
    )
    acted, after = 0, UUID(int=0)
    while True:
        following = chosen.where(Discrepancy.discrepancy_id > after)
        with runtime.transaction() as session:
            found = session.scalars(following.order_by(Discrepancy.discrepancy_id).limit(_BATCH_SIZE)).all()
            acted += sum(policy(session, contract, found) for policy in _POLICIES)
        if len(found) < _BATCH_SIZE:
            return acted
        after = found[-1].discrepancy_id


def doubtful(differences: int, cheques: int) -> bool:
    """Whether so much differs that a person has to look at the statement before anything is made of it."""
    return differences > max(_MAX_DIFFERENCES, cheques * _MAX_SHARE)


def _send_again(session: Session, contract: Contract, found: Sequence[Discrepancy]) -> int:
    """Sends again the orders that were accepted and lost; their references show the operator which it has already."""
    if contract.state not in WORKING:
        return 0
    if lookup.adapter(contract.operator).supplies_codes:  # it would give another number
        found = [difference for difference in found if difference.kind != "missing_at_operator"]
    params = {"discrepancies": _ids(found), "contract": contract.contract_id}
    remedies = session.execute(_REMEDIES_ORDERED, params).all()
    orders = [remedy.order_id for remedy in remedies if remedy.order_id]
    outcomes.send_again(session, orders, "lost by the operator", "accepted")
    return _acted(session, SENT_AGAIN, list({remedy.discrepancy_id for remedy in remedies}))


def _apply_redemptions(session: Session, contract: Contract, found: Sequence[Discrepancy]) -> int:
    """Applies redemptions at the operator's till that no message brought; the redeemer decides on them as on any other.

    Only of cheques of ours, and not those that the redeemer refused before.
    """
    missed = [
        row for row in found if "redeemed_at" in row.theirs and row.kind != "unknown_here" and "reason" not in row.ours
    ]
    applying.apply(session, contract.operator, map(_redeemed, missed))
    return _acted(session, APPLIED, _ids(missed))


def _apply_payments(session: Session, contract: Contract, found: Sequence[Discrepancy]) -> int:
    """Applies payments that no message brought."""
    missed = [row for row in found if "paid_on" in row.theirs and "payment_reference" not in row.ours]
    transfers = [
        Paid(reference, date.fromisoformat(day), tuple(line.theirs["reference"] for line in lines))
        for (reference, day), lines in groupby(sorted(missed, key=_payment), _payment)
    ]
    applying.apply(session, contract.operator, transfers)
    return _acted(session, APPLIED, _ids(missed))


def _accept_worthless(session: Session, contract: Contract, found: Sequence[Discrepancy]) -> int:
    """Leaves what is worth nothing on either side."""
    missing = [difference for difference in found if difference.kind == "missing_at_operator"]
    return len(session.execute(_WITHOUT_VALUE, {"discrepancies": _ids(missing), "policy": WITHOUT_VALUE}).all())


_POLICIES: Sequence[Callable[[Session, Contract, Sequence[Discrepancy]], int]] = (
    _send_again, _apply_redemptions, _apply_payments, _accept_worthless,
)  # fmt: skip


def _ids(found: Sequence[Discrepancy]) -> list[UUID]:
    return [difference.discrepancy_id for difference in found]


def _acted(session: Session, policy: str, discrepancies: Sequence[UUID]) -> int:
    params: dict[str, Any] = {"policy": policy, "discrepancies": list(discrepancies), "certain": _CERTAIN}
    session.execute(_ACTED, params)
    return len(discrepancies)


def _redeemed(difference: Discrepancy) -> Redeemed:
    line = difference.theirs
    return Redeemed(
        reference=line["reference"],
        cheque_id=UUID(str(difference.cheque_id)),
        structure_id=UUID(line["structure_id"]),
        amount_cents=line["amount_cents"],
        redeemed_at=datetime.fromisoformat(line["redeemed_at"]),
    )


def _payment(difference: Discrepancy) -> tuple[str, str]:
    return difference.theirs["payment_reference"], difference.theirs["paid_on"]
