"""Restoring redemptions that were lost with this database and that the other services have.

A spent cheque must stay spent, so this happens before any till is answered. Each redemption is published again, as one
of the readers may not have read it yet; the other reads the same event twice.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.cheques import ending, expiring
from shared.eventlog import log
from shared.eventlog.event_kinds import RedemptionRemembered
from shared.observability.logs import logger
from shared.values import clock

REASON = "taken back before the database was restored"

_HERE = sa.text("SELECT id, reversed_at FROM redemption WHERE id = ANY(:ids)")

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

# Not a cheque that has ended otherwise since: a second redemption conflicts with the first, and a person has to see it.
_SPEND = sa.text("""
    UPDATE cheque SET ending = 'redeemed', redeemed_at = input.redeemed_at
    FROM unnest(CAST(:cheque_id AS uuid[]), CAST(:redeemed_at AS timestamptz[])) AS input (cheque_id, redeemed_at)
    WHERE cheque.id = input.cheque_id AND ending IS NULL
    RETURNING cheque.id
""")

_PRESENT = sa.text("""
    INSERT INTO presentation (id, structure_id, key, request_digest, presented_at)
    SELECT DISTINCT ON (id) id, structure_id, 'remembered ' || id, CAST('' AS bytea), presented_at
    FROM unnest(CAST(:presentation_id AS uuid[]), CAST(:structure_id AS uuid[]), CAST(:redeemed_at AS timestamptz[]))
         AS input (id, structure_id, presented_at)
    ON CONFLICT DO NOTHING
""")

_REDEEM = sa.text("""
    INSERT INTO redemption (id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, contract_id,
                            given_on, redeemed_at, state, reversed_at, reversal_reason)
    SELECT input.id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, contract_id, given_on,
           input.redeemed_at, CASE via WHEN 'operator' THEN 'confirmed' ELSE 'due' END,
           CASE WHEN reversed THEN CAST(:now AS timestamptz) END, CASE WHEN reversed THEN :reason END
    FROM unnest(CAST(:redemption_id AS uuid[]), CAST(:cheque_id AS uuid[]), CAST(:presentation_id AS uuid[]),
                CAST(:structure_id AS uuid[]), CAST(:amount_cents AS int[]), CAST(:via AS text[]),
                CAST(:contract_id AS uuid[]), CAST(:given_on AS date[]), CAST(:redeemed_at AS timestamptz[]),
                CAST(:reversed AS boolean[]))
         AS input (id, cheque_id, presentation_id, structure_id, amount_cents, via, contract_id, given_on, redeemed_at,
                   reversed)
    JOIN cheque ON cheque.id = cheque_id JOIN spending_rules ON spending_rules.id = rules_id
    RETURNING id, programme
""")


def record(session: Session, memories: Sequence[RedemptionRemembered]) -> None:
    """Records recovered redemptions whose cheques are here; existing redemptions stay as they are."""
    ending.lock(session, {memory.cheque_id for memory in memories})
    here = {
        row.id: row.reversed_at
        for row in session.execute(_HERE, {"ids": [memory.redemption_id for memory in memories]})
    }
    lost = [memory for memory in memories if memory.redemption_id not in here]
    _insert(session, [memory for memory in lost if memory.reversed])
    standing = [redemption_id for redemption_id, reversed_at in here.items() if reversed_at is None]
    _take_back(session, [m.redemption_id for m in memories if m.reversed and m.redemption_id in standing])
    _insert(session, _spend(session, [memory for memory in lost if not memory.reversed]))


def _take_back(session: Session, redemption_ids: Sequence[UUID]) -> None:
    now = clock.now()
    back = session.execute(_TAKE_BACK, {"ids": list(redemption_ids), "now": now, "reason": REASON}).all()
    expiring.read_again(session, [row.cheque_id for row in back])
    _publish_reversed(session, back, now)


def _spend(session: Session, memories: Sequence[RedemptionRemembered]) -> list[RedemptionRemembered]:
    """Spends the cheques of redemptions; returns the redemptions whose cheque had not ended otherwise."""
    won = set(session.scalars(_SPEND, _columns(memories)))
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
    facts = [msgspec.structs.asdict(memory) for memory in memories]
    bodies = [{**fact, "programme": programmes[fact["redemption_id"]], "redemptions": [fact]} for fact in facts]
    log.append_many(session, "cheques.redeemed", [(body["presentation_id"], body) for body in bodies])
    _publish_reversed(session, [memory for memory in memories if memory.reversed], now)


def _publish_reversed(session: Session, redemptions: Sequence[Any], at: datetime) -> None:
    names = ("redemption_id", "cheque_id", "structure_id", "amount_cents")
    bodies = [
        {name: getattr(row, name) for name in names} | {"reason": REASON, "reversed_at": at} for row in redemptions
    ]
    log.append_many(session, "redemption.reversed", [(body["redemption_id"], body) for body in bodies])


def _columns(memories: Sequence[RedemptionRemembered]) -> dict[str, list[Any]]:
    names = RedemptionRemembered.__struct_fields__
    return {name: [getattr(memory, name) for memory in memories] for name in names}
