"""Redeeming: cheques that a structure presents together are all spent, or none of them is, and a request that is
repeated gets its first answer again (`redeem.sql` is the statement that spends them).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.redeemer.redemptions import attempts, eligibility, lockout
from services.redeemer.redemptions.attempts import Attempt, Line, Request
from services.redeemer.redemptions.eligibility import UNKNOWN
from services.redeemer.redemptions.models import Presentation, Redemption
from shared.http.idempotency import InHand, KeyReused
from shared.problems import Conflict
from shared.process.runtime import Runtime

MAX_CODES = 50


class RedemptionRefused(Conflict, slug="redemption-refused", title="The cheques were not redeemed"):
    """At least one of the cheques presented cannot be taken, so none was; `refusals` says which and why."""


def redeem(runtime: Runtime, request: Request) -> dict[str, Any]:
    """Spends all the cheques presented, or answers a request that was answered already as it was.

    Raises RedemptionRefused where one of them cannot be taken, KeyReused, InHand, TooMany, or Unavailable.
    """
    attempt = Attempt.of(request, [*runtime.settings.keys["CODE_DIGEST_KEY"].values()])
    outcome = runtime.batcher(attempts.together).submit(attempt) or attempts.alone(runtime, attempt)
    if not outcome.lines[0].done:
        earlier = _answered_before(runtime, request, outcome.lines[0].has_key)
        if earlier is None:
            raise _refusal(runtime, request, outcome.lines)
        return earlier
    runtime.bell.ring()
    lines = zip(attempt.redemption_ids, outcome.lines, strict=True)
    taken = [(redemption_id, line.cheque_id, line.value_cents) for redemption_id, line in lines]
    return _answer(attempt.presentation_id, outcome.at, taken)


def _answer(presentation_id: UUID, redeemed_at: datetime, taken: Sequence[tuple[UUID, Any, Any]]) -> dict[str, Any]:
    return {
        "presentation_id": presentation_id,
        "redemptions": [
            {"redemption_id": redemption_id, "cheque_id": cheque_id, "amount_cents": amount_cents}
            for redemption_id, cheque_id, amount_cents in taken
        ],
        "total_cents": sum(amount_cents for _, _, amount_cents in taken),
        "redeemed_at": redeemed_at,
    }


def _answered_before(runtime: Runtime, request: Request, has_key: bool) -> dict[str, Any] | None:
    """What was answered to the first request with this key, if there was one; raises InHand or KeyReused."""
    if not has_key:
        raise InHand("Repeat it in a moment: the answer will be the first request's.", headers={"Retry-After": "1"})
    with runtime.transaction() as session:
        same = (Presentation.structure_id == request.structure_id) & (Presentation.key == request.key)
        first = session.scalar(sa.select(Presentation).where(same))
        if first is None:
            return None
        if first.request_digest not in (request.digest, *request.former_digests):
            raise KeyReused("Take a fresh key for a new request.")
        line = (Redemption.id, Redemption.cheque_id, Redemption.amount_cents)
        mine = sa.select(*line).where(Redemption.presentation_id == first.id).order_by(Redemption.id)
        taken = [(row.id, row.cheque_id, row.amount_cents) for row in session.execute(mine)]
    return _answer(first.id, first.presented_at, taken)


def _refusal(runtime: Runtime, request: Request, judged: Sequence[Line]) -> RedemptionRefused:
    """Why nothing was redeemed; counts the codes that were not found. Raises TooMany where there were too many."""
    if judged[0].locked_out_until:
        raise lockout.too_many(judged[0].locked_out_until)
    faults = request.typed.faults
    unknown = sum(line.verdict == UNKNOWN and index not in faults for index, line in enumerate(judged))
    if unknown:
        lockout.count(runtime, request.guesser, unknown, lockout.A_REDEMPTION)
    refusals = [
        {"index": index, **eligibility.refusal(line.verdict, line.redeemed_at, faults.get(index))}
        for index, line in enumerate(judged)
        if line.verdict
    ]
    return RedemptionRefused("Nothing was redeemed: see `refusals`.", refusals=refusals)
