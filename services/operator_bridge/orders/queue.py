"""Taking up orders to be sent: who may call an operator now, and which orders are next.

Workers share nothing but these rows. A contract's row has the instant before which nobody calls (its rate, a
Retry-After, our backoff in one) and whether it is held; a batch is claimed with SKIP LOCKED and marked `sent` before it
leaves, so no order leaves twice. Whoever locks both a contract and its orders locks the contract first.

The circuit: an operator that failed several times in a row gets one order at a time, later each time, instead of whole
batches that would all be lost or unknown. The first answer to such a probe closes the circuit.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.interface import Order
from services.operator_bridge.orders import outcomes
from services.operator_bridge.register.transitions import UNFINISHED, WORKING

OPENS_AFTER = 5
"""So many calls that failed in a row open the circuit."""
_PROBE_SIZE = 1

_MAX_BACKOFF_SECONDS = 60.0
# Neither "at once" nor "next year" is an answer to when a failing operator is to be called again.
_MIN_RETRY_AFTER_SECONDS, _MAX_RETRY_AFTER_SECONDS = 1.0, 3600.0

_IS_UNFINISHED = "state IN ({})".format(", ".join(f"'{state}'" for state in UNFINISHED))

# An order waits for the registration of its cheque, then for the earlier orders of its cheque or of its structure. A
# registration that came last, as the logs are read in any order, goes first; an activation, where the operator needs
# one, right after it. `state || ''`, so that a link is found by its cheque and no index of states is read for each.
_DUE = f"""
    o.state = 'pending' AND o.next_attempt_at <= clock_timestamp()
    AND (o.kind IN ('register', 'activate') OR o.cheque_id IS NULL OR NOT EXISTS (
        SELECT FROM link WHERE link.cheque_id = o.cheque_id AND link.contract_id = o.contract_id
        AND link.state || '' = 'wanted'))
    AND (o.kind = 'register' OR NOT EXISTS (
        SELECT FROM operator_order e WHERE e.cheque_id = o.cheque_id AND e.contract_id = o.contract_id
        AND e.sequence < o.sequence AND e.{_IS_UNFINISHED}
        AND (o.kind <> 'activate' OR e.kind IN ('register', 'activate'))))
    AND NOT EXISTS (
        SELECT FROM operator_order e WHERE e.structure_id = o.structure_id AND e.contract_id = o.contract_id
        AND e.cheque_id IS NULL AND e.sequence < o.sequence AND e.{_IS_UNFINISHED})
"""  # noqa: S608 (constants of this package)

_TAKE_TURN = sa.text("""
    UPDATE contract SET next_push_at = clock_timestamp() + make_interval(secs => :interval)
    WHERE contract_id = :contract AND next_push_at <= clock_timestamp() AND state = ANY(:working) AND held_at IS NULL
    RETURNING contract_id
""")

_NEXT_TURN = sa.text("""
    SELECT greatest(0, extract(epoch FROM next_push_at - clock_timestamp())) FROM contract
    WHERE contract_id = :contract AND state = ANY(:working) AND held_at IS NULL
""")

# The lock keeps a planned stop out until what is claimed here is marked: after a stop is made nothing more is claimed.
_PERMIT = sa.text("""
    SELECT CASE WHEN circuit_opened_at IS NULL THEN CAST(:size AS integer) ELSE least(:size, :probe) END
    FROM contract WHERE contract_id = :contract AND held_at IS NULL FOR SHARE
""")

_READ = sa.text("""
    SELECT o.order_id, o.kind, o.cheque_id, o.structure_id, o.details, contract.code AS contract, link.number,
           coalesce(redemption.amount_cents, cheque.value_cents, 0) AS amount_cents, cheque.valid_until,
           redemption.reference, redemption.redeemed_at
    FROM operator_order o JOIN contract USING (contract_id)
    LEFT JOIN cheque ON cheque.cheque_id = o.cheque_id
    LEFT JOIN link ON link.cheque_id = o.cheque_id AND link.contract_id = o.contract_id
    LEFT JOIN redemption ON redemption.redemption_id = o.redemption_id
    WHERE o.order_id = ANY(:orders) ORDER BY o.sequence
""")

_READY = sa.text(f"""
    SELECT o.order_id FROM operator_order o WHERE o.contract_id = :contract AND {_DUE}
    ORDER BY o.sequence LIMIT :size FOR UPDATE OF o SKIP LOCKED
""")  # noqa: S608 (as above)

_MORE_WAIT = sa.text("""
    SELECT EXISTS (SELECT FROM operator_order WHERE contract_id = :contract AND state = 'pending' OFFSET :number)
""")

_CONTRACTS_DUE = sa.text(f"""
    SELECT contract_id FROM contract
    WHERE state = ANY(:working) AND next_push_at <= clock_timestamp() AND held_at IS NULL
      AND EXISTS (SELECT FROM operator_order o WHERE o.contract_id = contract.contract_id AND {_DUE})
""")  # noqa: S608 (as above)

_RECORD_FAILURE = sa.text("""
    UPDATE contract SET failures = least(failures + 1, 1000), last_failure = :reason,
        circuit_opened_at = coalesce(circuit_opened_at, CASE WHEN failures + 1 >= :opens THEN clock_timestamp() END),
        next_push_at = clock_timestamp()
        + make_interval(secs => coalesce(:wait, least(:most, power(2, least(failures, 10))) * :jitter))
    WHERE contract_id = :contract
    RETURNING failures = :opens AS opened
""")

_RECORD_SUCCESS = sa.text("""
    UPDATE contract SET failures = 0, last_failure = NULL, circuit_opened_at = NULL
    FROM contract before
    WHERE contract.contract_id = :contract AND before.contract_id = contract.contract_id AND contract.failures > 0
    RETURNING before.circuit_opened_at IS NOT NULL AS closed
""")

# A lease that can be taken is of a worker that ended (`leases`).
_ABANDONED = sa.text("""
    WITH lease AS MATERIALIZED (SELECT DISTINCT sent_by FROM operator_order WHERE state = 'sent'),
         ended AS MATERIALIZED (SELECT sent_by FROM lease WHERE pg_try_advisory_xact_lock(sent_by))
    SELECT order_id FROM operator_order JOIN ended USING (sent_by) WHERE state = 'sent' FOR UPDATE OF operator_order
""")


def contracts_due(session: Session) -> Sequence[UUID]:
    """The contracts that have orders to send now."""
    return session.scalars(_CONTRACTS_DUE, {"working": list(WORKING)}).all()


def take_turn(session: Session, contract_id: UUID, rate: float) -> bool:
    """Whether this worker may call the operator now; if so nobody else may within `1 / rate` seconds."""
    params = {"contract": contract_id, "interval": 1 / rate, "working": list(WORKING)}
    return session.scalar(_TAKE_TURN, params) is not None


def next_turn(session: Session, contract_id: UUID) -> float | None:
    """The seconds until somebody may call the operator; None while the contract's state or a stop forbids it."""
    seconds = session.scalar(_NEXT_TURN, {"contract": contract_id, "working": list(WORKING)})
    return None if seconds is None else float(seconds)


def more_wait_than(session: Session, contract_id: UUID, number: int) -> bool:
    """Whether more orders of a contract are pending than so many, due or not."""
    return bool(session.scalar(_MORE_WAIT, {"contract": contract_id, "number": number}))


def claim(session: Session, contract_id: UUID, size: int, lease: int) -> list[Order]:
    """Claims the next orders of a contract, which are `sent` from the commit on. They are still without codes.

    None of a contract that is held, and one at most while its circuit is open.
    """
    permitted = session.scalar(_PERMIT, {"contract": contract_id, "size": size, "probe": _PROBE_SIZE})
    if permitted is None:
        return []
    ready = session.scalars(_READY, {"contract": contract_id, "size": permitted}).all()
    outcomes.mark_sent(session, ready, lease)
    return read(session, ready)


def read(session: Session, orders: Sequence[UUID]) -> list[Order]:
    """Orders as an operator gets them, in their sequence and without codes."""
    return [_order(row) for row in session.execute(_READ, {"orders": list(orders)}).all()] if orders else []


def put_back(session: Session, orders: Sequence[UUID], reason: str) -> None:
    """Makes orders that surely were not done pending again, for half a second to a minute and a half, by attempts."""
    outcomes.send_again(session, orders, reason, "sent", _MAX_BACKOFF_SECONDS)


def record_failure(session: Session, contract_id: UUID, retry_after: float | None, reason: str) -> bool:
    """Keeps all workers from calling the operator: for the time that it requested, else longer after each failure.

    Returns whether that opened the circuit.
    """
    if retry_after is not None:
        retry_after = min(max(retry_after, _MIN_RETRY_AFTER_SECONDS), _MAX_RETRY_AFTER_SECONDS)
    params = {
        "contract": contract_id,
        "wait": retry_after,
        "most": _MAX_BACKOFF_SECONDS,
        "jitter": random.uniform(0.5, 1.5),  # noqa: S311 (spreads calls, guards nothing)
        "opens": OPENS_AFTER,
        "reason": reason,
    }
    return bool(session.scalar(_RECORD_FAILURE, params))


def record_success(session: Session, contract_id: UUID) -> bool:
    """Forgets earlier failures, as the operator answered; returns whether that closed the circuit."""
    return bool(session.scalar(_RECORD_SUCCESS, {"contract": contract_id}))


def sweep(session: Session) -> None:
    """Marks as unknown what a worker sent that ended before it could settle it."""
    abandoned = session.scalars(_ABANDONED).all()
    outcomes.mark_unknown(session, dict.fromkeys(abandoned, "the worker that sent it ended"))


def _order(row: "sa.Row[Any]") -> Order:
    details: Mapping[str, Any] = row.details
    return Order(
        reference=str(row.order_id),
        kind=row.kind,
        contract=row.contract,
        cheque_id=row.cheque_id,
        number=row.number,
        amount_cents=row.amount_cents,
        valid_until=row.valid_until,
        structure_id=row.structure_id,
        siret=details.get("siret"),
        name=details.get("name", ""),
        redemption=row.reference if row.kind == "reverse" else None,
        redeemed_at=row.redeemed_at,
        reason=details.get("reason", ""),
        starts_on=date.fromisoformat(details["starts_on"]) if details.get("starts_on") else None,
        ends_on=date.fromisoformat(details["ends_on"]) if details.get("ends_on") else None,
        payment_order=details.get("payment_order"),
    )
