"""What one person may have of one programme, in all or within a period, whoever grants it.

It is the part `per_person` of a programme's rule: `{"ceiling_cents", "grants", "period": {"months"} | {"calendar":
"year"}, "beneficiary": "required" | "optional", "exceeding": {"roles", "typologies"}}`. Without a period it counts for
ever. Months are counted from grant to grant: no so many months in a row, wherever they begin, hold more than the
ceiling, so that a grant dated back cannot get past it.

What counts is what the person keeps: cheques that were cancelled do not count, spent and expired ones do. A grant
without a beneficiary counts for nobody, and so do the grants of a person who was forgotten.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.issuer.programmes.models import Programme
from shared.problems import Conflict, Invalid
from shared.values import clock
from shared.values.money import euros

Limit = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Past:
    """A grant that a person had: its day, and what of it was not cancelled, in cents."""

    granted_on: date
    cents: int


class Exceeded(Conflict):
    """The person would have more than the programme gives one person."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person has of a programme in the period of a day, and what of it may still be granted; None: no end."""

    grants: int
    granted_cents: int
    most_grants: int | None
    ceiling_cents: int | None

    @property
    def remaining_cents(self) -> int | None:
        """What may still be granted, by amount alone."""
        return None if self.ceiling_cents is None else max(0, self.ceiling_cents - self.granted_cents)

    def fault(self, cents: int) -> str | None:
        """Why so much more would be too much, if it would."""
        if self.most_grants is not None and self.grants >= self.most_grants:
            had = "1 grant" if self.grants == 1 else f"{self.grants} grants"
            return f"The person has {had} of the programme in this period, and may have {self.most_grants}."
        if self.ceiling_cents is not None and self.granted_cents + cents > self.ceiling_cents:
            return (
                f"The person has {euros(self.granted_cents)} of the programme in this period; {euros(cents)} more would"
                f" exceed the ceiling of {euros(self.ceiling_cents)}."
            )
        return None


def of(programme: Programme) -> Limit | None:
    """The programme's limit, if it has one."""
    return (programme.assessment or {}).get("per_person")


def needs_beneficiary(limit: Limit) -> bool:
    """Whether nothing is granted without saying to whom."""
    return bool(limit.get("beneficiary", "required") == "required")


def may_exceed(limit: Limit, role: str, typologies: Collection[str]) -> bool:
    """Whether such a caller may go beyond the limit, with a reason."""
    return permits(limit.get("exceeding") or {}, role, typologies)


def permits(who: Mapping[str, Any], role: str, typologies: Collection[str]) -> bool:
    """Whether a caller is one of those whom a rule names, by roles and kinds of prescribers: without roles, nobody."""
    kinds = who.get("typologies")
    of_kind = role != "prescriber" or not kinds or not set(kinds).isdisjoint(typologies)
    return role in who.get("roles", ()) and of_kind


def standing(limit: Limit, pasts: Sequence[Past], day: date) -> Standing:
    """How a person with these grants stands on a day: by the fullest of the periods that hold it."""
    periods = [list(period) for period in _periods(limit.get("period"), pasts, day)]
    return Standing(
        grants=max(map(len, periods)),
        granted_cents=max(sum(past.cents for past in period) for period in periods),
        most_grants=limit.get("grants"),
        ceiling_cents=limit.get("ceiling_cents"),
    )


def hold(limit: Limit, now: Standing, cents: int, *, reason: str | None, allowed: bool) -> str | None:
    """Holds a grant against the limit. Gives the reason for which it may go beyond it, None where it does not.

    Raises Exceeded where it does and may not, or has no reason.
    """
    fault = now.fault(cents)
    if fault is None:
        return None
    if allowed and reason:
        return reason
    hint = "Give an `exception_reason` to grant it all the same." if allowed else _who(limit)
    raise Exceeded(
        f"{fault} {hint}",
        slug="person-limit-exceeded",
        grants=now.grants,
        granted_cents=now.granted_cents,
        remaining_cents=now.remaining_cents,
        may_exceed=allowed,
    )


def check_nobody(limit: Limit) -> None:
    """Raises Invalid where nothing is granted without saying to whom."""
    if needs_beneficiary(limit):
        fault = "The programme limits what one person may have: say who it is for."
        raise Invalid("The order names nobody: see `errors`.", errors={"beneficiary": [fault]})


def faults(programme: Programme, limit: Limit | None) -> list[str]:
    """What is wrong with a limit for a programme, if its shape is right."""
    ceiling = (limit or {}).get("ceiling_cents")
    least = programme.minimum_grant_cents
    if ceiling is not None and ceiling < least:
        return [f"A ceiling of {ceiling} cents a person is less than the least grant of {least}."]
    return []


def _periods(period: Limit | None, pasts: Sequence[Past], day: date) -> Iterator[Iterable[Past]]:
    """The grants of each period that holds the day and could be the fullest."""
    if period is None:
        yield pasts
    elif "months" not in period:
        yield (past for past in pasts if past.granted_on.year == day.year)
    else:
        for start in {day, *(past.granted_on for past in pasts if past.granted_on <= day)}:
            end = clock.add_months(start, period["months"])
            if day < end:
                yield [past for past in pasts if start <= past.granted_on < end]


def _who(limit: Limit) -> str:
    roles = " or ".join((limit.get("exceeding") or {}).get("roles", ()))
    return f"Only {roles} may go beyond it, with a reason." if roles else "Nobody may go beyond it."
