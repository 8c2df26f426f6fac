"""Whether a cheque may be spent by this structure, for this workshop, today: one decision for checks and redemptions.

The decision is the first half of `redeem.sql`, so that it is made on the locked row. It takes several questions at once
and answers each by itself: `questions` has the questions, `code` their codes, `cheques` the cheques found, and `judged`
a row per code. A structure that may not accept a cheque does not learn that it exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from services.redeemer.redemptions import lockout
from services.redeemer.redemptions.lockout import Guesser
from shared.database import sql_files
from shared.problems import Invalid
from shared.process.prepared_query import PreparedQuery, json_rows
from shared.process.runtime import Runtime
from shared.values import cheque_code, clock
from shared.values.cheque_code import InvalidCode

UNKNOWN = "unknown-code"


@dataclass(frozen=True)
class Workshop:
    """What cheques pay for. Without a postcode, the structure's own address counts."""

    given_on: date
    service: str | None = None
    postcode: str | None = None


@dataclass(frozen=True)
class Typed:
    """The codes of a request as typed: each well-formed one in its canonical form, or what is wrong with it."""

    codes: tuple[str | None, ...]
    faults: Mapping[int, str]

    def digests(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        """Each code's digests, one by every key that is accepted; none where there is a typing error."""
        return [[cheque_code.digest(code, key) for key in keys] if code else [] for code in self.codes]


@dataclass(frozen=True)
class _Checked:
    locked_out_until: datetime | None
    value_cents: int | None
    valid_until: date | None
    programme: str | None
    verdict: str | None
    redeemed_at: datetime | None


# Presentations that go together never wait for a lock; one that goes alone does, and a check takes none.
TOGETHER = sql_files.load(__file__, "redeem.sql")
_LOCK = "ORDER BY cheque.id FOR UPDATE OF cheque NOWAIT"
ALONE = TOGETHER.replace(_LOCK, _LOCK.removesuffix(" NOWAIT"))
_ELIGIBILITY, _ = TOGETHER.split("-- Up to here a check is the same; from here on cheques are spent.\n")
_CHECK = PreparedQuery(
    _ELIGIBILITY.replace(_LOCK, ""),
    "SELECT locked_out_until, value_cents, valid_until, programme, verdict, redeemed_at FROM judged",
)

# What a verdict is called outside, and what there is to say about it.
_REFUSALS: Mapping[str, tuple[str, str]] = {
    UNKNOWN: (UNKNOWN, "No cheque that this structure may take has this code."),
    "suspended": (
        "structure-not-affiliated", "The structure is suspended and takes no cheques until further notice."
    ),
    "structure-not-affiliated": (
        "structure-not-affiliated", "The structure was not affiliated to any programme on that day."
    ),
    "already-redeemed": ("already-redeemed", "The cheque has been redeemed already."),
    "cancelled": ("cancelled", "The cheque was cancelled."),
    "blocked": ("blocked", "The cheque is blocked: it was reported lost or stolen, or is in doubt."),
    "expired": ("expired", "The last day to present the cheque has passed."),
    "given-too-late": ("expired", "The workshop was given after the last day on which the cheque was valid."),
    "not-yet-spendable": ("not-yet-spendable", "The cheque is not active yet: an operator has still to register it."),
    "given-too-early": ("not-yet-spendable", "The workshop was given before the cheque was granted."),
    "service-not-said": ("service-not-covered", "The cheque pays for certain services only: say which was given."),
    "service-not-covered": ("service-not-covered", "The cheque does not pay for this service."),
    "out-of-territory": ("out-of-territory", "The cheque is not taken at this place."),
}  # fmt: skip


def read(texts: Sequence[str]) -> Typed:
    """Reads codes as typed; raises Invalid where one is there twice, naming both indexes."""
    codes: list[str | None] = []
    faults: dict[int, str] = {}
    for index, text in enumerate(texts):
        try:
            code = cheque_code.normalise(text)
        except InvalidCode as error:
            codes.append(None)
            faults[index] = f"This is a typing error, not a code: {error}"
            continue
        if code in codes:
            indexes = [codes.index(code), index]
            raise Invalid("The codes at two indexes are the same.", slug="code-repeated", indexes=indexes)
        codes.append(code)
    return Typed(tuple(codes), faults)


def workshop(given_on: date | None, service: str | None, postcode: str | None) -> Workshop:
    """What the cheques pay for, today without a day; raises Invalid where the day is still to come."""
    today = clock.today()
    if given_on and given_on > today:
        raise Invalid("The workshop is still to come.", errors={"given_on": ["It must not be after today."]})
    return Workshop(given_on or today, service, postcode)


def question(number: int, guesser: Guesser, paid_for: Workshop) -> dict[str, Any]:
    """A row of `questions`: by whom codes are presented or checked, and for which workshop."""
    return {"number": number, **vars(guesser), **vars(paid_for)}


def refusal(verdict: str, redeemed_at: datetime | None, fault: str | None = None) -> dict[str, Any]:
    """A verdict for the caller: `reason`, `detail`, and for a redeemed cheque the time of that, but not the place."""
    reason, detail = _REFUSALS[UNKNOWN if fault else verdict]
    answer = {"reason": reason, "detail": fault or detail}
    if verdict == "already-redeemed" and redeemed_at:
        answer["redeemed_at"] = redeemed_at.isoformat()
    return answer


def check(runtime: Runtime, guesser: Guesser, code: str, paid_for: Workshop) -> dict[str, Any]:
    """Whether a structure could redeem a code now, and what the cheque is worth; it has no effect on the cheque.

    Raises TooMany where the structure tries too many codes that do not exist, or tried any where others try too many.
    """
    typed = read([code])
    [digests] = typed.digests([*runtime.settings.keys["CODE_DIGEST_KEY"].values()])
    parameters = {
        "questions": json_rows([question(1, guesser, paid_for)]),
        "codes": json_rows([{"number": 1, "index": 0, "digests": digests}]),
        "now": clock.now(),
        "today": clock.today(),
    }
    [found] = _CHECK.run(runtime, parameters, _Checked)
    if found.locked_out_until:
        raise lockout.too_many(found.locked_out_until)
    if found.verdict == UNKNOWN and not typed.faults:
        lockout.count(runtime, guesser, 1, lockout.A_CHECK)
    answer: dict[str, Any] = {"redeemable": found.verdict is None, "reason": None, "detail": None}
    answer |= {name: getattr(found, name) for name in ("value_cents", "valid_until", "programme")}
    if found.verdict:
        answer |= refusal(found.verdict, found.redeemed_at, typed.faults.get(0))
    return answer
