"""Closing a month: its statements are issued, then those are settled whose credits cover what is due."""

from datetime import date
from functools import partial
from typing import NamedTuple
from uuid import UUID

from services.redeemer.payments import settlement
from services.redeemer.statements import issuing
from services.redeemer.statements.issuing import Issuance
from services.redeemer.statements.models import Statement
from shared.process import slices
from shared.process.runtime import Runtime


class Place(NamedTuple):
    """How far a run has come: it issues behind a structure, or settles behind a statement."""

    issuance: Issuance | None
    after: UUID


def close(runtime: Runtime, month: date, by: str, only: UUID | None = None) -> list[Statement]:
    """The statements that were made for a month, of every structure or of one: none the second time.

    Raises Invalid where the month is not over.
    """
    made = issuing.issue(runtime, month, by, only)
    set_off(runtime)
    return made


def set_off(runtime: Runtime) -> int:
    """Settles all statements whose credits cover what is due; gives the number of redemptions that were settled."""
    settled, after = settle_slice(runtime, settlement.FIRST)
    while after is not None:
        number, after = settle_slice(runtime, after)
        settled += number
    return settled


def close_last_month(runtime: Runtime, seconds: float = slices.SECONDS) -> bool:
    """Does what is to be done by schedule in about so many seconds; says whether something is left for the next run."""
    start = Place(issuing.due_by_schedule(runtime), issuing.FIRST)
    _, following = slices.run(partial(close_slice, runtime), start, seconds)
    return following is not None


def close_slice(runtime: Runtime, place: Place) -> tuple[int, Place | None]:
    """Number of statements issued or redemptions settled in one slice, and where the next one begins."""
    if place.issuance is None:
        settled, after = settle_slice(runtime, place.after)
        return settled, Place(None, after) if after else None
    made, after = issuing.issue_slice(runtime, place.issuance, place.after)
    return len(made), Place(place.issuance, after) if after else Place(None, settlement.FIRST)


def settle_slice(runtime: Runtime, after: UUID) -> tuple[int, UUID | None]:
    """Number of redemptions settled by credits in one transaction, and the statement behind which the next begins."""
    with runtime.transaction() as session:
        session.execute(issuing.ALLOW_LONG_STATEMENTS)
        return settlement.set_off_slice(session, after)
