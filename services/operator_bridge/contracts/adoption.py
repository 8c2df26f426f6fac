"""Giving a contract what no operator has: cheques that one refused or gave up and nobody holds, what is due on them.

A redemption of such a cheque is owed and nobody is told to pay it. Under a contract that is live or draining, such as
one with the régie, it is.
"""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.orders import creating, deriving
from services.operator_bridge.register import contracts
from services.operator_bridge.register.transitions import WORKING
from shared.problems import Conflict

BATCH_SIZE = 20_000

# Nobody has it, one refused it or gave it up as the accountant seemed to have paid; and it can be spent, or it was and
# that was neither paid nor judged by an operator. The reference of a redemption at our till is the order that declared
# it.
_ORPHANS = """
    FROM cheque WHERE EXISTS (
            SELECT FROM link WHERE link.cheque_id = cheque.cheque_id
            AND (link.state = 'refused' OR link.state = 'closed' AND cheque.state = 'redeemed'))
      AND NOT EXISTS (
            SELECT FROM link JOIN contract USING (contract_id) WHERE link.cheque_id = cheque.cheque_id
            AND link.state IN ('wanted', 'registered') AND contract.state = ANY(:working))
      AND (cheque.state = 'open' OR EXISTS (
            SELECT FROM redemption WHERE redemption.cheque_id = cheque.cheque_id AND (
                redemption.state = 'due' AND redemption.contract_id IS NULL
                OR redemption.state = 'refused' AND EXISTS (
                    SELECT FROM operator_order o WHERE o.reason = 'cheque-not-registered'
                    AND o.order_id = CASE redemption.via WHEN 'till' THEN CAST(redemption.reference AS uuid) END))))
"""

_SUMS = sa.text(f"""
    SELECT programme, state, count(*) AS number, sum(value_cents) AS cents {_ORPHANS}
    GROUP BY programme, state ORDER BY programme, state
""")

_FOR = sa.text(f"""
    SELECT cheque_id {_ORPHANS} AND programme = :programme AND NOT EXISTS (
        SELECT FROM link WHERE link.cheque_id = cheque.cheque_id AND link.contract_id = :contract)
    ORDER BY cheque_id LIMIT :limit
""")  # noqa: S608 (as above)

_NEVER_JUDGED = sa.text("""
    UPDATE redemption SET contract_id = :contract, reference = NULL
    FROM operator_order o
    WHERE redemption.cheque_id = ANY(:cheques) AND redemption.state = 'refused'
      AND o.order_id = CASE redemption.via WHEN 'till' THEN CAST(redemption.reference AS uuid) END
      AND o.reason = 'cheque-not-registered'
    RETURNING redemption.redemption_id
""")


def orphans(session: Session) -> list[sa.RowMapping]:
    """What no operator has because one refused it, per programme and state of the cheque, in number and in cents."""
    return list(session.execute(_SUMS, {"working": list(WORKING)}).mappings())


def adopt(session: Session, contract_id: UUID) -> int:
    """Has a contract take what no operator has of its programme, and what is due on it; says how many cheques.

    Raises NotFound; Conflict where nothing is sent under the contract.
    """
    creating.lock_orders(session)
    contract = contracts.find(session, contract_id)
    if contract.state not in WORKING:
        raise Conflict(f"A contract that is {contract.state} takes no cheques.", slug="illegal-transition")
    params = {"contract": contract_id, "programme": contract.programme, "working": list(WORKING), "limit": BATCH_SIZE}
    adopted = 0
    while cheques := list(session.scalars(_FOR, params)):
        creating.register(session, cheques, contract_id)
        never_judged = session.scalars(_NEVER_JUDGED, {"contract": contract_id, "cheques": cheques}).all()
        if "declare" in lookup.adapter(contract.operator).supported_orders:
            creating.declare(session, never_judged)
        deriving.catch_up(session, cheques)
        adopted += len(cheques)
    return adopted
