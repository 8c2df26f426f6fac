"""Checking a cheque: says what presenting it would come to, and has no effect on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.redeemer import attempts, judging, roundtrip
from services.redeemer.judging import UNKNOWN, Workshop
from services.redeemer.roundtrip import Statement
from shared.runtime import Runtime

_CHECK = Statement(
    "WITH",
    judging.ASKED,
    """,
    known AS MATERIALIZED (
        SELECT * FROM cheque WHERE digest = ANY(%(digests)s::bytea[])
    ),""",
    judging.JUDGED,
    "SELECT",
    judging.LIMITED,
    "AS limited, value_cents, valid_until, programme, verdict, redeemed_at FROM judged",
)

_NOTHING: Mapping[str, Any] = {"reason": None, "detail": None}


@dataclass(frozen=True)
class _Checked:
    limited: bool
    value_cents: int | None
    valid_until: date | None
    programme: str | None
    verdict: str | None
    redeemed_at: datetime | None


def check(runtime: Runtime, structure_id: UUID, code: str, paid_for: Workshop) -> dict[str, Any]:
    """Says whether this structure could redeem a code now, and what the cheque is worth.

    Raises TooMany where the structure tries too many codes that do not exist.
    """
    typed = judging.read([code])
    limit, keys = runtime.settings.attempts_per_minute, runtime.settings.keys["CODE_DIGEST_KEY"]
    parameters = judging.parameters(structure_id, paid_for, limit) | typed.candidates([*keys.values()])
    found = roundtrip.ask(runtime.engine, _CHECK, parameters, _Checked)[0]
    if found.limited:
        raise attempts.too_many()
    if found.verdict == UNKNOWN and not typed.faults:
        attempts.count(runtime, structure_id, 1)
    why = judging.refusal(found.verdict, found.redeemed_at, typed.faults.get(0)) if found.verdict else _NOTHING
    return {
        "redeemable": found.verdict is None,
        "value_cents": found.value_cents,
        "valid_until": found.valid_until,
        "programme": found.programme,
        **why,
    }
