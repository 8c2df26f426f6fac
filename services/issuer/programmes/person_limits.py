"""Limits: what one person may have of one programme, in all or within a period, whoever makes the grants.

It is the part `per_person` of a programme's rule, in the shape of `schemas.PerPersonSchema`. Without a period it counts
for ever. Months are counted from grant to grant: no run of that many months contains more than the ceiling, so that a
grant dated back cannot exceed it. Cancelled cheques do not count, spent and expired ones do. A grant without a
beneficiary counts for nobody, and so do the grants of a person who was erased.
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
class PastGrant:
    """A grant that a person had: its day, and its cents less cancelled cheques."""

    granted_on: date
    cents: int


class Exceeded(Conflict):
    """The person would have more than the programme gives one person."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a person had of a programme in the period of a day, and the programme's limit."""

    limit: Limit
    grants: int
    granted_cents: int

    @property
    def remaining_cents(self) -> int | None:
        """The cents that may still be granted; None where the limit has no ceiling."""
        ceiling = self.limit.get("ceiling_cents")
        return None if ceiling is None else max(0, ceiling - self.granted_cents)

    def fault(self, cents: int) -> str | None:
        """Why these cents more would exceed the limit; None where they would not."""
        most, ceiling = self.limit.get("grants"), self.limit.get("ceiling_cents")
        if most is not None and self.grants >= most:
            had = "1 grant" if self.grants == 1 else f"{self.grants} grants"
            return f"The person has {had} of the programme in this period, and may have {most}."
        if ceiling is not None and self.granted_cents + cents > ceiling:
            return (
                f"The person has {euros(self.granted_cents)} of the programme in this period; {euros(cents)} more would"
                f" exceed the ceiling of {euros(ceiling)}."
            )
        return None


def of(programme: Programme) -> Limit | None:
    """The programme's limit, if it has one."""
    return (programme.assessment or {}).get("per_person")


def may_exceed(limit: Limit | None, role: str, typologies: Collection[str]) -> bool:
    """Whether such a caller may exceed the limit, with a reason."""
    return permits((limit or {}).get("exceeding") or {}, role, typologies)


def permits(who: Mapping[str, Any], role: str, typologies: Collection[str]) -> bool:
    """Whether a rule's part names such a caller, by roles and kinds of prescribers; without roles it names nobody."""
    kinds = who.get("typologies")
    of_kind = role != "prescriber" or not kinds or not set(kinds).isdisjoint(typologies)
    return role in who.get("roles", ()) and of_kind


def usage(limit: Limit, pasts: Sequence[PastGrant], day: date) -> Usage:
    """The usage of a person with these grants on a day: of the fullest of the periods that contain it."""
    periods = [list(period) for period in _periods(limit.get("period"), pasts, day)]
    return Usage(limit, max(map(len, periods)), max(sum(past.cents for past in period) for period in periods))


def enforce(now: Usage, cents: int, *, reason: str | None, allowed: bool) -> str | None:
    """The reason for which a grant of these cents exceeds the limit; None where it does not.

    Raises Exceeded where the grant exceeds the limit without a reason, or where that is not `allowed`.
    """
    fault = now.fault(cents)
    if fault is None:
        return None
    if allowed and reason:
        return reason
    hint = "Give an `exception_reason` to grant it all the same." if allowed else _who(now.limit)
    raise Exceeded(
        f"{fault} {hint}",
        slug="person-limit-exceeded",
        grants=now.grants,
        granted_cents=now.granted_cents,
        remaining_cents=now.remaining_cents,
        may_exceed=allowed,
    )


def require_beneficiary(limit: Limit) -> None:
    """Raises Invalid where the limit requires a beneficiary, as the grant has none."""
    if limit.get("beneficiary", "required") == "required":
        fault = "The programme limits what one person may have: say who it is for."
        raise Invalid("The order names nobody: see `errors`.", errors={"beneficiary": [fault]})


def faults(programme: Programme, limit: Limit | None) -> list[str]:
    """What is wrong with a limit of the right shape for a programme."""
    ceiling, least = (limit or {}).get("ceiling_cents"), programme.minimum_grant_cents
    if ceiling is not None and ceiling < least:
        return [f"A ceiling of {ceiling} cents a person is less than the least grant of {least}."]
    return []


def _periods(period: Limit | None, pasts: Sequence[PastGrant], day: date) -> Iterator[Iterable[PastGrant]]:
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
