"""From what happened to what an operator has to be told: links and orders, made by set.

The logs of issuer and redeemer are applied in any order relative to each other. An order is made as soon as its cause
is known and waits, when it is to be sent, for its cheque's link and for the earlier orders of its cheque (`sync`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.operator_bridge.operators import lookup
from services.operator_bridge.register.models import Affiliation, Contract, Order
from services.operator_bridge.register.references import reference_sql
from services.operator_bridge.register.transitions import REDEMPTION, WORKING, before
from shared.database import engine

# One at a time: the run of one log, of the other, a contract that goes live, payments. Of two that need each other and
# do not see each other, as neither is committed, both would wait for ever: a cheque for its contract, a parked event
# for its cheque, a payment for its redemption.
_LOCK = sa.text("SELECT pg_advisory_xact_lock('contract'::regclass::oid::bigint)")

_CHEQUE = ("cheque_id", "programme", "value_cents", "valid_until", "presentable_until")
_TAKE_CHEQUES = sa.text("""
    INSERT INTO cheque (cheque_id, programme, value_cents, valid_until, presentable_until)
    SELECT * FROM unnest(
        CAST(:cheque_id AS uuid[]), CAST(:programme AS text[]), CAST(:value_cents AS integer[]),
        CAST(:valid_until AS date[]), CAST(:presentable_until AS date[])
    )
    ON CONFLICT DO NOTHING
""")

_REDEMPTION = (
    "redemption_id", "presentation_id", "cheque_id", "structure_id", "amount_cents",
    "via", "given_on", "redeemed_at", "state", "contract_id",
)  # fmt: skip
_TAKE_REDEMPTIONS = sa.text("""
    INSERT INTO redemption (redemption_id, presentation_id, cheque_id, structure_id, amount_cents,
                            via, given_on, redeemed_at, state, contract_id)
    SELECT * FROM unnest(
        CAST(:redemption_id AS uuid[]), CAST(:presentation_id AS uuid[]), CAST(:cheque_id AS uuid[]),
        CAST(:structure_id AS uuid[]), CAST(:amount_cents AS integer[]), CAST(:via AS text[]),
        CAST(:given_on AS date[]), CAST(:redeemed_at AS timestamptz[]), CAST(:state AS text[]),
        CAST(:contract_id AS uuid[])
    )
    ON CONFLICT DO NOTHING
""")

_MARK = sa.text("UPDATE cheque SET state = :state WHERE cheque_id = ANY(:cheques)")
_BLOCK = sa.text("UPDATE cheque SET blocked = :blocked WHERE cheque_id = ANY(:cheques)")

_REGISTER = sa.text(f"""
    WITH latest AS (
        SELECT DISTINCT ON (programme) programme, contract_id FROM contract
        WHERE state = 'live' ORDER BY programme, live_at DESC
    ), wanted AS (
        INSERT INTO link (cheque_id, contract_id)
        SELECT cheque.cheque_id, latest.contract_id
        FROM cheque JOIN latest USING (programme) WHERE cheque.cheque_id = ANY(:cheques)
        ON CONFLICT DO NOTHING RETURNING cheque_id, contract_id
    )
    INSERT INTO operator_order (order_id, contract_id, kind, cheque_id)
    SELECT {reference_sql("wanted.contract_id", "register", "wanted.cheque_id")}, contract_id, 'register', cheque_id
    FROM wanted
""")  # noqa: S608 (SQL of this package)

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

_DECLARE = sa.text(f"""
    WITH declared AS (
        INSERT INTO operator_order (order_id, contract_id, kind, cheque_id, redemption_id, structure_id)
        SELECT {reference_sql("redemption.contract_id", "declare", "redemption.redemption_id")},
               contract_id, 'declare', cheque_id, redemption_id, structure_id
        FROM redemption
        WHERE redemption_id = ANY(:redemptions) AND via = 'till' AND reference IS NULL
          AND contract_id = ANY(:contracts)
        RETURNING order_id, redemption_id
    )
    UPDATE redemption SET reference = declared.order_id::text
    FROM declared WHERE redemption.redemption_id = declared.redemption_id
""")  # noqa: S608 (as above)

# The operator's report that became a redemption: a payment will name its reference.
_RECOGNISE = sa.text("""
    UPDATE redemption SET reference = report.reference
    FROM report
    WHERE redemption.redemption_id = ANY(:redemptions) AND redemption.via = 'operator'
      AND report.report_id = redemption.presentation_id
""")

_REVERSE = sa.text(f"""
    INSERT INTO operator_order (order_id, contract_id, kind, cheque_id, redemption_id, structure_id, details)
    SELECT {reference_sql("redemption.contract_id", "reverse", "redemption.redemption_id")},
           contract_id, 'reverse', cheque_id, redemption_id, structure_id, jsonb_build_object('reason', given.reason)
    FROM redemption JOIN unnest(CAST(:redemptions AS uuid[]), CAST(:reasons AS text[])) AS given (redemption_id, reason)
    USING (redemption_id)
    WHERE contract_id = ANY(:contracts) AND reference IS NOT NULL AND state IN ('due', 'confirmed')
""")  # noqa: S608 (as above)

_TAKE_BACK = sa.text("""
    UPDATE redemption SET state = 'reversed' WHERE redemption_id = ANY(:redemptions) AND state = ANY(:before)
""")

_TELL = sa.text("""
    INSERT INTO operator_order (contract_id, kind, cheque_id, details)
    SELECT contract_id, :kind, cheque_id, jsonb_build_object('reason', given.reason)
    FROM link JOIN unnest(CAST(:cheques AS uuid[]), CAST(:reasons AS text[])) AS given (cheque_id, reason)
    USING (cheque_id)
    WHERE contract_id = ANY(:contracts) AND state IN ('wanted', 'registered')
""")

# A cheque that is open again while only an operator that takes no new ones, or none at all, holds it: the next has it.
_ASTRAY = sa.text("""
    SELECT cheque_id FROM cheque WHERE cheque_id = ANY(:cheques) AND state = 'open'
      AND EXISTS (SELECT FROM link WHERE link.cheque_id = cheque.cheque_id)
      AND NOT EXISTS (
            SELECT FROM link JOIN contract USING (contract_id)
            WHERE link.cheque_id = cheque.cheque_id AND link.state <> 'stranded' AND contract.state = 'live')
""")

_LEAVE = sa.text("""
    INSERT INTO operator_order (contract_id, kind, cheque_id, details)
    SELECT contract_id, 'cancel', cheque_id, jsonb_build_object('reason', 'moved-to-another-operator')
    FROM link JOIN contract USING (contract_id)
    WHERE cheque_id = ANY(:cheques) AND link.state = 'registered' AND contract.state = 'draining'
      AND contract_id = ANY(:contracts)
      AND EXISTS (
            SELECT FROM link next JOIN contract holder USING (contract_id)
            WHERE next.cheque_id = link.cheque_id AND next.state = 'wanted' AND holder.state = 'live')
""")

# The cheques of a programme that nobody has yet, and that somebody still has to know: to take them, or to pay for them.
_WITHOUT_OPERATOR = sa.text("""
    SELECT cheque_id FROM cheque JOIN contract USING (programme)
    WHERE contract.contract_id = :contract
      AND (cheque.state = 'open' OR EXISTS (
            SELECT FROM redemption WHERE redemption.cheque_id = cheque.cheque_id
            AND redemption.contract_id IS NULL AND redemption.state = 'due'))
      AND NOT EXISTS (
            SELECT FROM link JOIN contract holder USING (contract_id)
            WHERE link.cheque_id = cheque.cheque_id AND link.state IN ('wanted', 'registered')
            AND holder.state = ANY(:working))
    LIMIT :limit
""")

# The blocked among the open cheques given.
_BLOCKED = sa.text("SELECT cheque_id FROM cheque WHERE blocked AND state = 'open' AND cheque_id = ANY(:cheques)")

_SUSPEND = sa.text("""
    INSERT INTO operator_order (contract_id, kind, structure_id, details)
    SELECT DISTINCT affiliation.contract_id, 'suspend', affiliation.structure_id,
           jsonb_build_object('reason', given.reason)
    FROM operator_order affiliation
    JOIN unnest(CAST(:structures AS uuid[]), CAST(:reasons AS text[])) AS given (structure_id, reason)
    USING (structure_id)
    WHERE affiliation.cheque_id IS NULL AND affiliation.kind = 'affiliate' AND affiliation.contract_id = ANY(:contracts)
""")

# How many cheques one statement takes when a whole programme is linked.
_AT_ONCE = 20_000


def lock_orders(session: Session) -> None:
    """Keeps everybody else from ordering until the end of the transaction; raises where that takes too long."""
    session.execute(_LOCK)


def issue(session: Session, cheques: Sequence[Mapping[str, Any]]) -> None:
    """Takes new cheques in and has them registered with the operator of their programme, if it has one."""
    session.execute(_TAKE_CHEQUES, engine.columns(_CHEQUE, cheques))
    session.execute(_REGISTER, {"cheques": [cheque["cheque_id"] for cheque in cheques]})


def redeem(session: Session, redemptions: Sequence[Mapping[str, Any]]) -> None:
    """Takes redemptions in and has those of our tills declared to whoever has to pay them."""
    cheques = [redemption["cheque_id"] for redemption in redemptions]
    session.execute(_TAKE_REDEMPTIONS, engine.columns(_REDEMPTION, redemptions))
    session.execute(_MARK, {"state": "redeemed", "cheques": cheques})
    session.execute(_ASSIGN, {"cheques": cheques, "working": list(WORKING)})
    by_way: dict[str, list[UUID]] = {"till": [], "operator": []}
    for redemption in redemptions:
        by_way[redemption["via"]].append(redemption["redemption_id"])
    declare(session, by_way["till"])
    recognise(session, by_way["operator"])


def recognise(session: Session, redemptions: Sequence[UUID]) -> None:
    """Has redemptions at an operator's till known by its reference, whichever of redemption and report came first."""
    session.execute(_RECOGNISE, {"redemptions": redemptions})


def reverse(session: Session, reasons: Mapping[UUID, str], cheques: Sequence[UUID]) -> None:
    """Takes redemptions back, by id with the reason, and has the operators told."""
    given = {"redemptions": list(reasons), "reasons": list(reasons.values())}
    session.execute(_REVERSE, {**given, "contracts": taking(session, "reverse")})
    session.execute(_TAKE_BACK, {"redemptions": list(reasons), "before": before(REDEMPTION, "reversed")})
    session.execute(_MARK, {"state": "open", "cheques": cheques})
    _move_on(session, cheques)


def close(session: Session, state: str, reasons: Mapping[UUID, str]) -> None:
    """Has cheques that were cancelled or have expired cancelled with their operators."""
    session.execute(_MARK, {"state": state, "cheques": list(reasons)})
    _tell(session, "cancel", reasons)


def block(session: Session, kind: str, reasons: Mapping[UUID, str]) -> None:
    """Has cheques blocked (`block`) or released (`unblock`) at the operator's own till."""
    session.execute(_BLOCK, {"blocked": kind == "block", "cheques": list(reasons)})
    _tell(session, kind, reasons)


def affiliate(session: Session, affiliations: Iterable[Mapping[str, Any]]) -> None:
    """Has structures made known to the operator of the contract that they are affiliated to, and keeps that."""
    affiliations = list(affiliations)
    _keep(session, affiliations)
    contracts = set(taking(session, "affiliate", ("draft", *WORKING)))
    orders = [
        {"contract_id": given["contract_id"], "kind": "affiliate", "structure_id": given["structure_id"], "details": {
            "siret": given["siret"], "name": given["name"],
            "starts_on": given["starts_on"].isoformat(),
            "ends_on": given["ends_on"].isoformat() if given["ends_on"] else None,
        }}
        for given in affiliations if given["contract_id"] in contracts
    ]  # fmt: skip
    if orders:
        session.execute(sa.insert(Order), orders)


def suspend(session: Session, reasons: Mapping[UUID, str]) -> None:
    """Has structures suspended with every operator that knows them."""
    contracts = taking(session, "suspend", ("draft", *WORKING))
    given = {"structures": list(reasons), "reasons": list(reasons.values())}
    session.execute(_SUSPEND, {**given, "contracts": contracts})


def link_all(session: Session, contract_id: UUID) -> None:
    """Has a contract that goes live take the cheques of its programme that no operator has, and what is due on them."""
    given = {"contract": contract_id, "working": list(WORKING), "limit": _AT_ONCE}
    while cheques := list(session.scalars(_WITHOUT_OPERATOR, given)):
        session.execute(_REGISTER, {"cheques": cheques})
        settle_due(session, cheques)


def settle_due(session: Session, cheques: Sequence[UUID]) -> None:
    """Has what is due on cheques that were given to an operator just now declared to it, and the blocked blocked."""
    declare(session, session.scalars(_ASSIGN, {"cheques": list(cheques), "working": list(WORKING)}).all())
    blocked = session.scalars(_BLOCKED, {"cheques": list(cheques)})
    _tell(session, "block", dict.fromkeys(blocked, "blocked"))


def declare(session: Session, redemptions: Sequence[UUID]) -> None:
    """Has redemptions of our tills declared to whoever has to pay them, those that have no reference yet."""
    session.execute(_DECLARE, {"redemptions": list(redemptions), "contracts": taking(session, "declare")})


def _keep(session: Session, affiliations: Iterable[Mapping[str, Any]]) -> None:
    columns = [column.key for column in Affiliation.__table__.columns]
    last = {(given["contract_id"], given["structure_id"]): given for given in affiliations}
    made = pg.insert(Affiliation)
    changes = {name: made.excluded[name] for name in columns[2:]}
    rows = [{name: given[name] for name in columns} for given in last.values()]
    session.execute(made.on_conflict_do_update(index_elements=columns[:2], set_=changes), rows)


def _move_on(session: Session, cheques: Sequence[UUID]) -> None:
    """Has cheques that are open again taken by the operator that came after theirs, if there is one."""
    astray = list(session.scalars(_ASTRAY, {"cheques": cheques}))
    if astray:
        session.execute(_REGISTER, {"cheques": astray})
        session.execute(_LEAVE, {"cheques": astray, "contracts": taking(session, "cancel", ("draining",))})


def _tell(session: Session, kind: str, reasons: Mapping[UUID, str]) -> None:
    given = {"kind": kind, "cheques": list(reasons), "reasons": list(reasons.values())}
    session.execute(_TELL, {**given, "contracts": taking(session, kind)})


def taking(session: Session, kind: str, states: Sequence[str] = WORKING) -> list[UUID]:
    """The contracts in these states whose operators understand such an order."""
    found = session.execute(sa.select(Contract.contract_id, Contract.operator).where(Contract.state.in_(states)))
    return [contract_id for contract_id, operator in found if kind in lookup.adapter(operator).supported_orders]
