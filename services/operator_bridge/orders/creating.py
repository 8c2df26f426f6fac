"""Creating orders: every INSERT of `operator_order`.

Registrations, declarations and reversals have ids that follow from what they are about (`references`), so that they are
the same when they are made again after a restore. Every other order has a fresh id.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.register.models import Contract, Order
from services.operator_bridge.register.references import reference_sql
from services.operator_bridge.register.transitions import WORKING
from shared.database import engine

# One at a time: the run of one log, of the other, a contract that goes live, payments. Of two that need and, before
# either is committed, do not see each other, both would wait for ever: a cheque and its contract, a parked event and
# its cheque, a payment and its redemption.
_LOCK = sa.text("SELECT pg_advisory_xact_lock('contract'::regclass::oid::bigint)")

# Without a contract the one of their programme that went live last takes the cheques.
_REGISTER = sa.text(f"""
    WITH taker AS (
        SELECT DISTINCT ON (programme) programme, contract_id FROM contract
        WHERE CASE WHEN CAST(:contract AS uuid) IS NULL THEN state = 'live' ELSE contract_id = :contract END
        ORDER BY programme, live_at DESC
    ), wanted AS (
        INSERT INTO link (cheque_id, contract_id)
        SELECT cheque.cheque_id, taker.contract_id
        FROM cheque JOIN taker USING (programme) WHERE cheque.cheque_id = ANY(:cheques)
        ON CONFLICT DO NOTHING RETURNING cheque_id, contract_id
    )
    INSERT INTO operator_order (order_id, contract_id, kind, cheque_id, details)
    SELECT {reference_sql("wanted.contract_id", "register", "wanted.cheque_id")}, contract_id, 'register', cheque_id,
           CAST(:details AS jsonb)
    FROM wanted ORDER BY cheque_id
""").bindparams(sa.bindparam("details", type_=sa.JSON))  # noqa: S608 (SQL of this package)

_DECLARE = sa.text(f"""
    WITH declared AS (
        INSERT INTO operator_order (order_id, contract_id, kind, cheque_id, redemption_id, structure_id, details)
        SELECT {reference_sql("redemption.contract_id", "declare", "redemption.redemption_id")},
               contract_id, 'declare', cheque_id, redemption_id, structure_id, CAST(:details AS jsonb)
        FROM redemption
        WHERE redemption_id = ANY(:redemptions) AND via = ANY(:via) AND reference IS NULL
          AND contract_id = ANY(:contracts)
        ORDER BY redemption_id
        RETURNING order_id, redemption_id
    )
    UPDATE redemption SET reference = declared.order_id::text
    FROM declared WHERE redemption.redemption_id = declared.redemption_id
""").bindparams(sa.bindparam("details", type_=sa.JSON))  # noqa: S608 (as above)

_REVERSE = sa.text(f"""
    INSERT INTO operator_order (order_id, contract_id, kind, cheque_id, redemption_id, structure_id, details)
    SELECT {reference_sql("redemption.contract_id", "reverse", "redemption.redemption_id")},
           contract_id, 'reverse', cheque_id, redemption_id, structure_id, jsonb_build_object('reason', reversed.reason)
    FROM redemption
    JOIN unnest(CAST(:redemptions AS uuid[]), CAST(:reasons AS text[])) AS reversed (redemption_id, reason)
    USING (redemption_id)
    WHERE contract_id = ANY(:contracts) AND reference IS NOT NULL AND state IN ('due', 'confirmed')
""")  # noqa: S608 (as above)

_CREATED = ("contract_id", "kind", "cheque_id", "structure_id", "details")

_REPEAT = sa.text("""
    INSERT INTO operator_order (contract_id, kind, cheque_id, redemption_id, structure_id, details)
    SELECT contract_id, kind, cheque_id, redemption_id, structure_id,
           details || jsonb_build_object('retries',
               coalesce(details -> 'retries', '[]')
               || jsonb_build_array(CAST(:retry AS jsonb) || jsonb_build_object('of', order_id)))
    FROM operator_order WHERE order_id = :order RETURNING order_id
""").bindparams(sa.bindparam("retry", type_=sa.JSON))


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to create, of a cheque or of a structure."""

    contract_id: UUID
    details: Mapping[str, Any]
    cheque_id: UUID | None = None
    structure_id: UUID | None = None


def lock_orders(session: Session) -> None:
    """Locks out everybody else who orders until the end of the transaction; raises where that takes too long."""
    session.execute(_LOCK)


def supporting(session: Session, kind: str, states: Sequence[str] = WORKING) -> list[UUID]:
    """The contracts in these states whose operators support a kind of order."""
    found = session.execute(sa.select(Contract.contract_id, Contract.operator).where(Contract.state.in_(states)))
    return [contract_id for contract_id, operator in found if kind in lookup.adapter(operator).supported_orders]


def register(
    session: Session, cheques: Sequence[UUID], contract_id: UUID | None = None, details: Mapping[str, Any] | None = None
) -> None:
    """Links cheques to a contract of their programme, or to its live one, and orders their registration.

    Cheques that the contract has or had, and those whose programme has no live contract, are left as they are.
    """
    session.execute(_REGISTER, {"cheques": list(cheques), "contract": contract_id, "details": details or {}})


def declare(
    session: Session,
    redemptions: Sequence[UUID],
    contracts: Sequence[UUID] | None = None,
    via: Sequence[str] = ("till",),
    details: Mapping[str, Any] | None = None,
) -> None:
    """Orders the declaration of redemptions that have no reference yet, to the contracts that have to pay them."""
    contracts = supporting(session, "declare") if contracts is None else list(contracts)
    params = {"redemptions": list(redemptions), "contracts": contracts, "via": list(via)}
    session.execute(_DECLARE, {**params, "details": details or {}})


def reverse(session: Session, reasons: Mapping[UUID, str]) -> None:
    """Orders the reversal of redemptions that an operator knows, by id with the reason."""
    params = {"redemptions": list(reasons), "reasons": list(reasons.values())}
    session.execute(_REVERSE, {**params, "contracts": supporting(session, "reverse")})


def create(session: Session, kind: str, orders: Sequence[NewOrder]) -> None:
    """Creates orders of a kind with fresh ids, in this sequence."""
    rows = [
        (order.contract_id, kind, order.cheque_id, order.structure_id, json.dumps(order.details)) for order in orders
    ]
    engine.insert_rows(session, Order, _CREATED, rows)


def repeat(session: Session, order_id: UUID, retry: Mapping[str, Any]) -> UUID:
    """Orders the same again under a fresh id, with the note of the person who wants it; returns that id."""
    again: UUID = session.scalars(_REPEAT, {"order": order_id, "retry": retry}).one()
    return again
