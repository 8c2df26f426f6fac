"""Taking redemptions in again that were lost here, when this database was restored, and that others remember.

A cheque that is spent stays spent, whoever has to be asked for that: this happens before any till is answered. Each
is published again, as one of the readers may not have read it yet; the other reads the same news twice.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer import transitions
from services.redeemer.cheques import expiring
from shared.eventlog import log
from shared.eventlog.event_kinds import RedemptionRemembered
from shared.observability.logs import logger
from shared.values import clock

REASON = "taken back before the database was restored"

_KNOWN = sa.text("SELECT id, reversed_at FROM redemption WHERE id = ANY(:ids)")

_TAKE_BACK = sa.text("""
    WITH back AS (
        UPDATE redemption SET reversed_at = :now, reversal_reason = :reason
        WHERE id = ANY(:ids) AND reversed_at IS NULL AND statement_id IS NULL AND state <> 'paid'
        RETURNING id AS redemption_id, cheque_id, structure_id, amount_cents
    ),
    free AS (
        UPDATE cheque SET ending = NULL, redeemed_at = NULL FROM back WHERE cheque.id = back.cheque_id
    )
    SELECT * FROM back
""")

# Only what has not ended otherwise since: then a second redemption stands against the first; a person has to see it.
_SPEND = sa.text("""
    UPDATE cheque SET ending = 'redeemed', redeemed_at = input.redeemed_at
    FROM unnest(CAST(:cheques AS uuid[]), CAST(:times AS timestamptz[])) AS input (cheque_id, redeemed_at)
    WHERE cheque.id = input.cheque_id AND ending IS NULL
    RETURNING cheque.id
""")

_PRESENT = sa.text("""
    INSERT INTO presentation (id, structure_id, key, request_digest, presented_at)
    SELECT DISTINCT ON (id) id, structure_id, 'remembered ' || id, CAST('' AS bytea), presented_at
    FROM unnest(CAST(:presentations AS uuid[]), CAST(:structures AS uuid[]), CAST(:times AS timestamptz[]))
         AS input (id, structure_id, presented_at)
    ON CONFLICT DO NOTHING
""")

_REDEEM = sa.text("""
    INSERT INTO redemption (id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, contract_id,
                            given_on, redeemed_at, state, reversed_at, reversal_reason)
    SELECT input.id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, contract_id, given_on,
           input.redeemed_at, CASE via WHEN 'operator' THEN 'confirmed' ELSE 'due' END,
           CASE WHEN reversed THEN CAST(:now AS timestamptz) END, CASE WHEN reversed THEN :reason END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:cheques AS uuid[]), CAST(:presentations AS uuid[]),
                CAST(:structures AS uuid[]), CAST(:amounts AS int[]), CAST(:via AS text[]), CAST(:contracts AS uuid[]),
                CAST(:days AS date[]), CAST(:times AS timestamptz[]), CAST(:reversed AS boolean[]))
         AS input (id, cheque_id, presentation_id, structure_id, amount_cents, via, contract_id, given_on, redeemed_at,
                   reversed)
    JOIN cheque ON cheque.id = cheque_id JOIN spending_rules ON spending_rules.id = rules_id
    RETURNING id, programme
""")


def record(session: Session, memories: Sequence[RedemptionRemembered]) -> None:
    """Takes in what is remembered of redemptions whose cheques are known here; what is here already stays as it is."""
    transitions.lock(session, {memory.cheque_id for memory in memories})
    known = {row.id: row.reversed_at for row in session.execute(_KNOWN, {"ids": _column(memories, "redemption_id")})}
    lost = [memory for memory in memories if memory.redemption_id not in known]
    _insert(session, [memory for memory in lost if memory.reversed])
    standing = [one for one, reversed_at in known.items() if reversed_at is None]
    _take_back(session, [m.redemption_id for m in memories if m.reversed and m.redemption_id in standing])
    _insert(session, _spent(session, [memory for memory in lost if not memory.reversed]))


def _take_back(session: Session, redemption_ids: Sequence[UUID]) -> None:
    now = clock.now()
    back = session.execute(_TAKE_BACK, {"ids": list(redemption_ids), "now": now, "reason": REASON}).all()
    expiring.read_again(session, [row.cheque_id for row in back])
    _publish_reversed(session, back, now)


def _spent(session: Session, memories: Sequence[RedemptionRemembered]) -> list[RedemptionRemembered]:
    """Spends the cheques of these redemptions, and gives those whose cheque had not ended otherwise."""
    given = {"cheques": _column(memories, "cheque_id"), "times": _column(memories, "redeemed_at")}
    won = set(session.scalars(_SPEND, given))
    for memory in memories:
        if memory.cheque_id not in won:
            logger().error("redeemed_twice", cheque_id=str(memory.cheque_id), redemption_id=str(memory.redemption_id))
    return [memory for memory in memories if memory.cheque_id in won]


def _insert(session: Session, memories: Sequence[RedemptionRemembered]) -> None:
    if not memories:
        return
    now = clock.now()
    session.execute(_PRESENT, _columns([memory for memory in memories if memory.via == "till"]))
    made = session.execute(_REDEEM, {**_columns(memories), "now": now, "reason": REASON})
    programmes = {row.id: row.programme for row in made}
    told = [(memory.presentation_id, _body(memory, programmes[memory.redemption_id])) for memory in memories]
    log.append_many(session, "cheques.redeemed", told)
    _publish_reversed(session, [memory for memory in memories if memory.reversed], now)


def _publish_reversed(session: Session, redemptions: Sequence[Any], at: datetime) -> None:
    names = ("redemption_id", "cheque_id", "structure_id", "amount_cents")
    told = [
        (one.redemption_id, {**{name: getattr(one, name) for name in names}, "reason": REASON, "reversed_at": at})
        for one in redemptions
    ]
    log.append_many(session, "redemption.reversed", told)


def _columns(memories: Sequence[RedemptionRemembered]) -> dict[str, list[Any]]:
    return {
        "ids": _column(memories, "redemption_id"),
        "cheques": _column(memories, "cheque_id"),
        "presentations": _column(memories, "presentation_id"),
        "structures": _column(memories, "structure_id"),
        "amounts": _column(memories, "amount_cents"),
        "via": _column(memories, "via"),
        "contracts": _column(memories, "contract_id"),
        "days": _column(memories, "given_on"),
        "times": _column(memories, "redeemed_at"),
        "reversed": _column(memories, "reversed"),
    }


def _column(memories: Sequence[RedemptionRemembered], name: str) -> list[Any]:
    return [getattr(memory, name) for memory in memories]


def _body(memory: RedemptionRemembered, programme: str) -> dict[str, Any]:
    line = {name: getattr(memory, name) for name in ("redemption_id", "cheque_id", "amount_cents")}
    names = ("presentation_id", "structure_id", "via", "contract_id", "redeemed_at", "given_on")
    return {**{name: getattr(memory, name) for name in names}, "programme": programme, "redemptions": [line]}
