"""What is done to the town: each injury begins, lasts, and ends; the name says to what."""

import contextlib
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import redis
import requests
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from shared.config import SERVICES
from tests.faults.proxy import Proxy
from tests.faults.town import Town, clock_offset_file

SECOND_BEAT = "second-beat"
WORKERS = tuple(f"{service}-worker" for service in SERVICES)
PAUSE_SECONDS = 10.0
CLOCK_JUMPS = (7200.0, -7200.0)


@dataclass
class Field:
    """The town, and the tools that injuries need."""

    town: Town
    operator: str
    proxy: Proxy
    connections: list[sa.Connection] = field(default_factory=list)

    def order(self, fault: str, times: int, seconds: float) -> None:
        """Has the simulated operator do something wrong so many times."""
        address = f"{self.town.stack.operators[self.operator]}/admin/faults"
        with contextlib.suppress(requests.RequestException):
            requests.post(address, json={"name": fault, "times": times, "seconds": seconds}, timeout=5)

    def behave(self) -> None:
        """Has it do nothing wrong any more."""
        with contextlib.suppress(requests.RequestException):
            requests.delete(f"{self.town.stack.operators[self.operator]}/admin/faults", timeout=5)


@dataclass(frozen=True)
class Injury:
    """How it begins, how it ends, and how many seconds lie between them at least and at most."""

    begin: Callable[[Field], None]
    end: Callable[[Field], None]
    lasts: tuple[float, float]


def _kill(name: str) -> Injury:
    return Injury(lambda at: at.town.kill(name), lambda at: at.town.start(name), (0.3, 3.0))


def _pause(name: str) -> Injury:
    return Injury(
        lambda at: at.town.signal(name, signal.SIGSTOP),
        lambda at: at.town.signal(name, signal.SIGCONT),
        (PAUSE_SECONDS, PAUSE_SECONDS),
    )


def _move_clock(name: str, seconds: float) -> Injury:
    return Injury(partial(_set_clock, name, seconds), partial(_set_clock, name, 0.0), (2.0, 6.0))


def _set_clock(name: str, seconds: float, at: Field) -> None:
    clock_offset_file(at.town.stack.directory, name).write_text(str(seconds), encoding="utf-8")


def _kill_operator(at: Field) -> None:
    at.town.kill(at.operator)


def _start_operator(at: Field) -> None:
    at.town.start(at.operator)


def _flush(at: Field) -> None:
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(at.town.stack.environ["REDIS_URL"]) as broker:
        broker.flushall()


def _fill_connections(at: Field) -> None:
    """Takes every connection that the database has left."""
    engine = sa.create_engine(at.town.stack.environ["ISSUER_DATABASE_URL"], poolclass=sa.NullPool)
    with contextlib.suppress(OperationalError):
        while True:
            at.connections.append(engine.connect())


def _free_connections(at: Field) -> None:
    while at.connections:
        at.connections.pop().close()


def _delay(at: Field) -> None:
    at.proxy.delay_seconds = 3.0


def _disturb_webhooks(at: Field) -> None:
    at.order("repeat_webhooks", 1000, 0)
    at.order("disorder_webhooks", 1000, 0)


def _start_second_beat(at: Field) -> None:
    at.town.stack.start(SECOND_BEAT, "-m", "souche", "beat")


_NOTHING: Callable[[Field], None] = lambda _: None  # noqa: E731 (a table of functions)

INJURIES: Mapping[str, Injury] = {
    **{f"kill {name}": _kill(name) for name in (*SERVICES, *WORKERS, "beat")},
    **{f"pause {name}": _pause(name) for name in (*SERVICES, *WORKERS, "beat", "postgresql", "valkey")},
    **{
        f"jump the clock of {name} by {seconds:+.0f} s": _move_clock(name, seconds)
        for name in WORKERS
        for seconds in CLOCK_JUMPS
    },
    "kill the operator": Injury(_kill_operator, _start_operator, (0.5, 4.0)),
    "stop PostgreSQL at once": Injury(
        lambda at: at.town.stop_database(), lambda at: at.town.start_database(), (0.5, 3.0)
    ),
    "stop Redis at once": Injury(lambda at: at.town.stop_broker(), lambda at: at.town.start_broker(), (0.5, 5.0)),
    "flush Redis": Injury(_flush, _flush, (0.5, 2.0)),
    "fill the database's connections": Injury(_fill_connections, _free_connections, (2.0, 5.0)),
    "cut the network to the operator": Injury(lambda at: at.proxy.cut(), lambda at: at.proxy.mend(), (2.0, 6.0)),
    "delay the network to the operator": Injury(_delay, lambda at: at.proxy.mend(), (3.0, 6.0)),
    "deliver webhooks twice and shuffled": Injury(_disturb_webhooks, Field.behave, (3.0, 6.0)),
    "run two beats": Injury(_start_second_beat, lambda at: at.town.kill(SECOND_BEAT), (3.0, 6.0)),
}


def target(name: str) -> str:
    """What an injury is done to: one thing is injured in one way at a time."""
    for prefix in ("kill the ", "kill ", "pause ", "jump the clock of "):
        if name.startswith(prefix):
            return name.removeprefix(prefix).partition(" by ")[0]
    return {"stop PostgreSQL at once": "postgresql", "fill the database's connections": "postgresql"}.get(
        name, "valkey" if "Redis" in name else "operator"
    )
