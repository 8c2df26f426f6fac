"""What is done to the town: each injury begins, lasts, and ends; the name says to what.

Before it ends, each shows that it took hold: a process is dead or stands still, a connection is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from shared.settings.settings import SERVICES
from tests.faults import signs
from tests.faults.ground import CLOCK_JUMPS, PAUSE_SECONDS, SECOND_BEAT, WORKERS, Field


@dataclass(frozen=True)
class Injury:
    """How it begins, how it ends, by what it shows, and how many seconds it lasts at least and at most."""

    begin: Callable[[Field], None]
    end: Callable[[Field], None]
    shows: Callable[[Field], bool]
    lasts: tuple[float, float]


def _kill(name: str) -> Injury:
    return Injury(
        lambda at: at.town.kill(at.name(name)),
        lambda at: at.town.start(at.name(name)),
        lambda at: signs.is_dead(at, at.name(name)),
        (0.3, 4.0),
    )


def _pause(name: str) -> Injury:
    return Injury(
        lambda at: at.town.pause(at.name(name)),
        lambda at: at.town.resume(at.name(name)),
        lambda at: signs.stands_still(at, at.name(name)),
        (PAUSE_SECONDS, PAUSE_SECONDS),
    )


def _move_clock(name: str, seconds: float) -> Injury:
    return Injury(
        lambda at: at.move_clock(name, seconds),
        lambda at: at.move_clock(name, 0.0),
        partial(signs.lives_by_moved_clock, name=name, seconds=seconds),
        (4.0, 8.0),
    )


OPERATOR = "the operator"

INJURIES: Mapping[str, Injury] = {
    **{f"kill {name}": _kill(name) for name in (*SERVICES, *WORKERS, "beat", OPERATOR)},
    **{f"pause {name}": _pause(name) for name in (*SERVICES, *WORKERS, "beat", OPERATOR, "postgresql", "valkey")},
    **{
        f"jump the clock of {name} by {seconds:+.0f} s": _move_clock(name, seconds)
        for name in WORKERS
        for seconds in CLOCK_JUMPS
    },
    "stop PostgreSQL at once": Injury(
        lambda at: at.town.stop_database(), lambda at: at.town.start_database(), signs.has_no_database, (0.5, 3.0)
    ),
    "stop Redis at once": Injury(
        lambda at: at.town.stop_broker(), lambda at: at.town.start_broker(), signs.has_no_broker, (0.5, 5.0)
    ),
    "flush Redis": Injury(Field.flush, Field.flush, signs.was_flushed, (0.5, 2.0)),
    "fill the database's connections": Injury(
        Field.fill_connections, Field.free_connections, signs.has_no_connection_left, (2.0, 5.0)
    ),
    "cut the network to the operator": Injury(
        lambda at: at.proxy.cut(), lambda at: at.proxy.mend(), signs.is_cut_off, (2.0, 6.0)
    ),
    "delay the network to the operator": Injury(
        lambda at: at.proxy.delay(), lambda at: at.proxy.mend(), signs.is_slow, (3.0, 6.0)
    ),
    "deliver webhooks twice and shuffled": Injury(
        Field.disturb_webhooks, Field.leave_webhooks_alone, signs.webhooks_came_twice_and_shuffled, (4.0, 7.0)
    ),
    "run two beats": Injury(
        Field.start_second_beat, lambda at: at.town.kill(SECOND_BEAT), signs.has_two_beats, (3.0, 6.0)
    ),
}


def target(name: str) -> str:
    """What an injury is done to: one thing is injured in one way at a time."""
    for verb in ("kill ", "pause ", "jump the clock of "):
        if name.startswith(verb):
            return name.removeprefix(verb).partition(" by ")[0]
    return {"stop PostgreSQL at once": "postgresql", "fill the database's connections": "postgresql"}.get(
        name, "beat" if "beats" in name else "valkey" if "Redis" in name else OPERATOR
    )
