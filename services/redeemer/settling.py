"""What operators say of redemptions: confirmed, refused, paid. News that come twice or late change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.transitions import REDEMPTION, before

_SETTLE = sa.text("""
    WITH news AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:contracts AS uuid[]), CAST(:reasons AS text[]), CAST(:references AS text[]),
            CAST(:days AS date[])
        ) AS given (id, contract_id, refusal_reason, payment_reference, paid_on)
    ),
    held AS MATERIALIZED (
        SELECT id FROM redemption WHERE id = ANY(CAST(:ids AS uuid[])) AND state = ANY(:before) ORDER BY id FOR UPDATE
    )
    UPDATE redemption SET state = :state, contract_id = news.contract_id, refusal_reason = news.refusal_reason,
                          payment_reference = news.payment_reference, paid_on = news.paid_on
    FROM news, held WHERE redemption.id = news.id AND redemption.id = held.id
""")


@dataclass(frozen=True)
class News:
    """What the operator of a contract said of one redemption."""

    redemption_id: UUID
    contract_id: UUID
    refusal_reason: str | None = None
    payment_reference: str | None = None
    paid_on: date | None = None


def settle(session: Session, state: str, news: Sequence[News]) -> None:
    """Brings redemptions to a state, those of them that may still come to it."""
    last = {one.redemption_id: one for one in news}.values()
    columns = {
        "state": state,
        "before": before(REDEMPTION, state),
        "ids": [one.redemption_id for one in last],
        "contracts": [one.contract_id for one in last],
        "reasons": [one.refusal_reason for one in last],
        "references": [one.payment_reference for one in last],
        "days": [one.paid_on for one in last],
    }
    session.execute(_SETTLE, columns)
