"""What operators say of redemptions: confirmed, refused, paid. News that come twice or late change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.payments import settlement
from services.redeemer.transitions import REDEMPTION

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


# Money that moved twice is a fact too: it is kept beside the payment that settled the redemption.
_NOTE_REPEATED = sa.text("""
    INSERT INTO repeated_payment (redemption_id, payment_reference, contract_id, paid_on)
    SELECT redemption.id, given.payment_reference, given.contract_id, given.paid_on
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:contracts AS uuid[]), CAST(:references AS text[]), CAST(:days AS date[])
    ) AS given (id, contract_id, payment_reference, paid_on)
    JOIN redemption ON redemption.id = given.id
    WHERE state = 'paid' AND redemption.payment_reference IS DISTINCT FROM given.payment_reference
    ON CONFLICT DO NOTHING
""")

# What an operator says of a redemption that the accountant paid counts, should that payment be withdrawn.
_MEANWHILE = sa.text("""
    UPDATE redemption SET unpaid_state = :state, refusal_reason = given.refusal_reason
    FROM unnest(CAST(:ids AS uuid[]), CAST(:reasons AS text[])) AS given (id, refusal_reason)
    WHERE redemption.id = given.id AND state = 'paid' AND payment_id IS NOT NULL AND unpaid_state = ANY(:before)
""")

# To who was told that a payment was withdrawn, the operator's word must come after that, so it is told from here.
_AFTER_WITHDRAWAL = sa.text("""
    SELECT redemption.id, contract_id, payment_reference, redemption.paid_on
    FROM redemption WHERE redemption.id = ANY(CAST(:ids AS uuid[])) AND state = 'paid' AND payment_id IS NULL
      AND EXISTS (
          SELECT FROM statement_line JOIN payment USING (statement_id)
          WHERE statement_line.redemption_id = redemption.id AND payment.kind = 'withdrawal'
      )
""")


@dataclass(frozen=True)
class News:
    """What the operator of a contract said of one redemption."""

    redemption_id: UUID
    contract_id: UUID | None
    refusal_reason: str | None = None
    payment_reference: str | None = None
    paid_on: date | None = None


def settle(session: Session, state: str, news: Sequence[News]) -> None:
    """Brings redemptions to a state, those of them that may still come to it.

    One that is paid again, under another reference, is noted as such.
    """
    last = list({one.redemption_id: one for one in news}.values())
    given = {"state": state, "before": REDEMPTION.before(state), **_columns(last)}
    session.execute(_SETTLE, given)
    if state == "paid":
        session.execute(_NOTE_REPEATED, _columns(news))
        settlement.publish_paid(session, session.execute(_AFTER_WITHDRAWAL, given).all())
    else:
        session.execute(_MEANWHILE, given)


def _columns(news: Sequence[News]) -> dict[str, Any]:
    return {
        "ids": [one.redemption_id for one in news],
        "contracts": [one.contract_id for one in news],
        "reasons": [one.refusal_reason for one in news],
        "references": [one.payment_reference for one in news],
        "days": [one.paid_on for one in news],
    }
