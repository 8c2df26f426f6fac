"""What stands where, per contract: law 7 as the bridge sees it, in number and in cents of EUR."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.contracts import linking
from services.operator_bridge.register.models import Contract

_LINKS = sa.text("""
    SELECT contract_id, link.state, count(*) AS number, sum(value_cents) AS cents
    FROM link JOIN cheque USING (cheque_id) GROUP BY contract_id, link.state
""")
_REDEMPTIONS = sa.text("""
    SELECT contract_id, state, count(*) AS number, sum(amount_cents) AS cents
    FROM redemption GROUP BY contract_id, state
""")
_ORDERS = sa.text("""
    SELECT contract_id, state, count(*) AS number, 0 AS cents FROM operator_order GROUP BY contract_id, state
""")
_WITHOUT = sa.text("""
    SELECT programme, cheque.state, count(*) AS number, sum(value_cents) AS cents
    FROM cheque WHERE NOT EXISTS (SELECT FROM link WHERE link.cheque_id = cheque.cheque_id)
    GROUP BY programme, cheque.state ORDER BY programme, cheque.state
""")


def balances(session: Session) -> dict[str, Any]:
    """Per contract its links, redemptions and orders by state; and per programme the cheques that no operator has."""
    links, redemptions, orders = (session.execute(query).all() for query in (_LINKS, _REDEMPTIONS, _ORDERS))
    contracts = session.scalars(sa.select(Contract).order_by(Contract.contract_id))
    return {
        "contracts": [
            {
                "contract_id": contract.contract_id,
                "code": contract.code,
                "operator": contract.operator,
                "programme": contract.programme,
                "state": contract.state,
                "links": _of(contract, links),
                "redemptions": _of(contract, redemptions),
                "orders": _of(contract, orders),
            }
            for contract in contracts
        ],
        "redemptions_without_contract": [row for row in redemptions if row.contract_id is None],
        "cheques_without_link": session.execute(_WITHOUT).all(),
        "cheques_without_operator": linking.orphans(session),
    }


def _of(contract: Contract, rows: Iterable[Any]) -> list[Any]:
    return sorted((row for row in rows if row.contract_id == contract.contract_id), key=lambda row: row.state)
