"""Checking a cheque: says what presenting it would come to, and has no effect on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from services.redeemer.redemptions import eligibility, lockout
from services.redeemer.redemptions.eligibility import UNKNOWN, Workshop
from services.redeemer.redemptions.lockout import Guesser
from shared.process.prepared_query import PreparedQuery, json_rows
from shared.process.runtime import Runtime
from shared.values import clock

_CHECK = PreparedQuery(eligibility.CHECK)

_NOTHING: Mapping[str, Any] = {"reason": None, "detail": None}


@dataclass(frozen=True)
class _Checked:
    locked_out_until: datetime | None
    value_cents: int | None
    valid_until: date | None
    programme: str | None
    verdict: str | None
    redeemed_at: datetime | None


def check(runtime: Runtime, guesser: Guesser, code: str, paid_for: Workshop) -> dict[str, Any]:
    """Says whether this structure could redeem a code now, and what the cheque is worth.

    Raises TooMany where the structure tries too many codes that do not exist, or tried any where others try too many.
    """
    typed = eligibility.read([code])
    [digests] = typed.digests([*runtime.settings.keys["CODE_DIGEST_KEY"].values()])
    parameters = {
        "questions": json_rows([eligibility.question(1, guesser, paid_for)]),
        "codes": json_rows([{"number": 1, "index": 0, "digests": digests}]),
        "now": clock.now(),
        "today": clock.today(),
    }
    found = _CHECK.run(runtime, parameters, _Checked)[0]
    if found.locked_out_until:
        raise lockout.too_many(found.locked_out_until)
    if found.verdict == UNKNOWN and not typed.faults:
        lockout.count(runtime, guesser, 1, lockout.A_CHECK)
    why = eligibility.refusal(found.verdict, found.redeemed_at, typed.faults.get(0)) if found.verdict else _NOTHING
    return {
        "redeemable": found.verdict is None,
        "value_cents": found.value_cents,
        "valid_until": found.valid_until,
        "programme": found.programme,
        **why,
    }
