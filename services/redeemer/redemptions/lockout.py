"""Counts wrong codes, and locks out callers that try too many: guessing codes is the attack.

Guesses are counted for the structure, for its address, and for everybody together. A count drains evenly, to nothing
within an hour; when it reaches its limit, a lock-out begins, four times as long as the one before within the week, up
to a day. Beyond the limit of an address or of everybody, only structures that guessed within the hour are locked out:
the others, which present real cheques, notice nothing, though they share the address.

`redeem.sql` reads the state in its own round trip (`locked_out_until`); it is written only where a code was not found.
A code with a typing error, whose check character is wrong, is no guess. The code of a cheque that the structure may not
accept is a guess, as if it did not exist.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.redemptions.models import Guessing
from shared.eventlog import log
from shared.observability.logs import logger
from shared.problems import TooMany
from shared.process.runtime import Runtime
from shared.values import clock

EVERYBODY = "everybody"
A_REDEMPTION, A_CHECK = 1, 2
"""How often a code that was not found counts. A check has no effect, so it costs nothing to try."""

_DRAINS_WITHIN = timedelta(hours=1)
_GROWTH = 4
_LONGEST = timedelta(days=1)
_FORGIVEN_AFTER = timedelta(days=7)
_ENOUGH = 10  # steps of growth: more than it takes from a second to a day


@dataclass(frozen=True)
class Guesser:
    """By whose token a code is tried, and from where: an IPv4 address, a /64 of IPv6, or None."""

    structure_id: UUID
    address: str | None = None

    @property
    def keys(self) -> list[str]:
        """The rows that count it, but for everybody's."""
        address = [f"address {self.address}"] if self.address else []
        return [*address, f"structure {self.structure_id}"]


def count(runtime: Runtime, guesser: Guesser, guesses: int, weight: int) -> None:
    """Counts codes that were not found, and publishes the lock-outs that this begins.

    Raises TooMany where others at the same time had used the limit up: then nothing is to be answered.
    """
    now, settings = clock.now(), runtime.settings
    first = timedelta(seconds=settings.lockout_seconds)
    limits = {"structure": settings.guesses_per_structure, "address": settings.guesses_per_address}
    with runtime.transaction() as session:
        tallies = _locked(session, [*guesser.keys, EVERYBODY], now)
        barred = [tally.locked_until for tally in tallies if tally.who != EVERYBODY and tally.locked_until > now]
        begun = [
            tally
            for tally in tallies
            if add(tally, guesses, weight, limits.get(tally.scope, settings.guesses_in_all), first, now)
        ]
        _publish(session, guesser, begun)
    if barred:
        raise too_many(max(barred))


def too_many(until: datetime) -> TooMany:
    """The problem of whoever is locked out, whatever code it sent."""
    seconds = max(1, math.ceil((until - clock.now()).total_seconds()))
    return TooMany(
        "Too many codes that do not exist were tried. Wait for the seconds of Retry-After, and have the code read out "
        "again; if it was not you who tried them, tell the département at once.",
        slug="too-many-attempts",
        headers={"Retry-After": str(seconds)},
    )


def lift(session: Session, structure_id: UUID) -> datetime | None:
    """Ends a structure's lock-out and clears its strikes; returns until when it was, None where there was none.

    Its guesses stay counted for its address and for everybody, which stay locked out if they are.
    """
    tally, now = session.get(Guessing, f"structure {structure_id}", with_for_update=True), clock.now()
    if tally is None or tally.locked_until <= now:
        return None
    until, tally.locked_until = tally.locked_until, now
    tally.strikes, tally.clear_at = 0, now
    return until


def forget(runtime: Runtime) -> int:
    """Deletes the counts of a week ago (addresses are personal data), and returns how many."""
    last = sa.func.greatest(Guessing.clear_at, Guessing.locked_until)
    old = sa.delete(Guessing).where(Guessing.who != EVERYBODY, last < clock.now() - _FORGIVEN_AFTER)
    with runtime.transaction() as session:
        return len(session.execute(old.returning(Guessing.who)).all())


def _locked(session: Session, keys: Sequence[str], now: datetime) -> list[Guessing]:
    """The counts of these keys, made where there are none, locked in one order for all."""
    # Well in the past: whoever comes a moment before its maker is not locked out either.
    fresh = {"clear_at": now, "locked_until": now - _LONGEST}
    rows = [{"who": who, "scope": who.partition(" ")[0], **fresh} for who in sorted(keys)]
    session.execute(pg.insert(Guessing).on_conflict_do_nothing(), rows)
    wanted = sa.select(Guessing).where(Guessing.who.in_(keys)).order_by(Guessing.who).with_for_update()
    return list(session.scalars(wanted))


def add(tally: Guessing, guesses: int, weight: int, limit: int, first: timedelta, now: datetime) -> bool:
    """Adds to a count; returns whether that begins a lock-out. Guesses during a lock-out do not lengthen it."""
    full_at = now + _DRAINS_WITHIN
    clear_at = max(tally.clear_at, now) + _DRAINS_WITHIN * guesses * weight / limit
    tally.guesses += guesses
    tally.clear_at = min(clear_at, full_at)
    if clear_at < full_at or tally.locked_until > now:
        return False
    tally.strikes = tally.strikes + 1 if tally.strikes and tally.locked_until > now - _FORGIVEN_AFTER else 1
    tally.lockouts += 1
    tally.locked_until = now + min(first * _GROWTH ** min(tally.strikes - 1, _ENOUGH), _LONGEST)
    return True


def _publish(session: Session, guesser: Guesser, begun: Sequence[Guessing]) -> None:
    structure = guesser.structure_id
    bodies = [
        {"scope": tally.scope, "structure_id": structure, "lockout": tally.strikes, "locked_until": tally.locked_until}
        for tally in begun
    ]
    log.append_many(session, "codes.guessed", [(structure, body) for body in bodies])
    for body in bodies:
        facts = body | {"structure_id": str(structure), "locked_until": str(body["locked_until"])}
        logger().warning("codes_guessed", address=guesser.address, **facts)
