"""Closing a month: its statements are issued, then those are settled whose credits cover what is due."""

import math
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
    """How far a run has come: it issues after a structure, or settles after a statement."""

    issuance: Issuance | None
    after: UUID


def close(runtime: Runtime, month: date, by: str, only: UUID | None = None) -> list[Statement]:
    """Issues the statements of a month, of every structure or of one, and returns them: none the second time.

    Raises Invalid where the month is not over.
    """
    made = issuing.issue(runtime, month, by, only)
    set_off(runtime)
    return made


def set_off(runtime: Runtime) -> int:
    """Settles all statements whose credits cover what is due; returns the number of redemptions settled."""
    return slices.run(partial(_settle_slice, runtime), issuing.FIRST, math.inf)[0]


def close_last_month(runtime: Runtime, seconds: float = slices.SECONDS) -> bool:
    """Issues and settles by schedule for about so many seconds; returns whether something is left for the next run."""
    start = Place(issuing.due_by_schedule(runtime), issuing.FIRST)
    _, following = slices.run(partial(_close_slice, runtime), start, seconds)
    return following is not None


def _close_slice(runtime: Runtime, place: Place) -> tuple[int, Place | None]:
    """Returns the number of statements issued or redemptions settled, and where the next slice begins."""
    if place.issuance is None:
        settled, after = _settle_slice(runtime, place.after)
        return settled, Place(None, after) if after else None
    made, after = issuing.issue_slice(runtime, place.issuance, place.after)
    return len(made), Place(place.issuance, after) if after else Place(None, issuing.FIRST)


def _settle_slice(runtime: Runtime, after: UUID) -> tuple[int, UUID | None]:
    with runtime.transaction() as session:
        session.execute(issuing.ALLOW_LONG_STATEMENTS)
        return settlement.set_off_slice(session, after)
