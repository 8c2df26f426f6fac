"""The town as it is injured, and the tools for that: an operator that keeps its books and is reached through a proxy,
clocks that move, a crowd that takes the database's connections.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
import requests
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from shared.settings.settings import SERVICES
from tests.faults import supervised
from tests.faults import town as towns
from tests.faults.proxy import Proxy
from tests.faults.town import Town, clock_offset_file

SECOND_BEAT = "second-beat"
WORKERS = tuple(f"{service}-worker" for service in SERVICES)
PAUSE_SECONDS = 10.0
CLOCK_JUMPS = (7200.0, -7200.0)
SHUFFLED_WITHIN_SECONDS = 1.5
_CLOCKWORK = Path(__file__).parent / "clockwork"
_CROWD = "crowd"


@dataclass
class Field:
    """The town, and the tools that injuries need."""

    town: Town
    operator: str
    proxy: Proxy
    connections: list[sa.Connection] = field(default_factory=list)
    flushed: int = 0
    """How many keys the broker held when it was last flushed."""
    webhooks_before: int = 0
    """How many messages of the operator had come when they began to be disturbed."""

    def name(self, said: str) -> str:
        """The process that goes by a name."""
        return self.operator if said == "the operator" else said

    @property
    def operator_address(self) -> str:
        """Where the operator itself listens, past the proxy."""
        return self.town.stack.operators[self.operator]

    def move_clock(self, name: str, seconds: float) -> None:
        """Has a worker live so many seconds later."""
        seen_clock_file(self, name).unlink(missing_ok=True)
        clock_offset_file(self.town.stack.directory, name).write_text(str(seconds), encoding="utf-8")

    def flush(self) -> None:
        """Wipes the broker."""
        with redis.Redis.from_url(self.town.stack.environ["REDIS_URL"]) as broker:
            self.flushed = int(broker.dbsize())
            broker.flushall()

    def fill_connections(self) -> None:
        """Takes every connection that the database has, those that the services held included."""
        self._crowd_in()
        owner = sa.create_engine(self.town.stack.environ["DATABASE_URL"], poolclass=sa.NullPool)
        with owner.connect() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename LIKE 'souche\\_%' AND application_name <> :crowd"
                ),
                {"crowd": _CROWD},
            )
        self._crowd_in()

    def _crowd_in(self) -> None:
        url = self.town.stack.environ["ISSUER_DATABASE_URL"]
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"application_name": _CROWD})
        with contextlib.suppress(OperationalError):
            while True:
                self.connections.append(engine.connect())

    def free_connections(self) -> None:
        """Gives them back."""
        while self.connections:
            self.connections.pop().close()

    def disturb_webhooks(self) -> None:
        """Has the operator send each message twice, each copy at some moment within a while."""
        self.webhooks_before = len(self.webhooks())
        self._order("repeat_webhooks", 0)
        self._order("disorder_webhooks", SHUFFLED_WITHIN_SECONDS)

    def _order(self, fault: str, seconds: float) -> None:
        body = {"name": fault, "times": 1_000_000, "seconds": seconds}
        requests.post(f"{self.operator_address}/admin/faults", json=body, timeout=30).raise_for_status()

    def leave_webhooks_alone(self) -> None:
        """Has it send them as it should."""
        requests.delete(f"{self.operator_address}/admin/faults", timeout=30).raise_for_status()

    def webhooks(self) -> list[bytes]:
        """What the operator sent, in the order in which it came."""
        owner = sa.create_engine(self.town.stack.environ["DATABASE_URL"], poolclass=sa.NullPool)
        with owner.connect() as connection:
            found = connection.execute(sa.text("SELECT body FROM operator_bridge.message ORDER BY received_at"))
            return [bytes(body) for body in found.scalars()]

    def restarts(self) -> int:
        """How often a worker ended by itself."""
        logs = (self.town.stack.log(name).read_text(encoding="utf-8", errors="replace") for name in WORKERS)
        return sum(log.count(supervised.STARTED_AGAIN) for log in logs)

    def start_second_beat(self) -> None:
        """Has a second clock tick beside the first."""
        self.town.stack.start(SECOND_BEAT, "-m", "souche", "beat")


def seen_clock_file(at: Field, name: str) -> Path:
    """The file in which a worker says by what offset it lives."""
    return clock_offset_file(at.town.stack.directory, name).with_suffix(".seen")


@contextmanager
def field_() -> Iterator[Field]:
    """A town, and the means to injure it."""
    with (
        tempfile.TemporaryDirectory(prefix="souche-books-") as folder,
        towns.town(arguments=("--books", f"{folder}/books.jsonl")) as town,
    ):
        operator = town.year.world.described["contract"]["operator"]
        proxy = Proxy(int(town.stack.operators[operator].rpartition(":")[2]))
        try:
            _reach_through(proxy, town, operator)
            yield Field(town, operator, proxy)
        finally:
            proxy.close()


def _reach_through(proxy: Proxy, town: Town, operator: str) -> None:
    """Has the bridge reach the operator through the proxy, and every worker live by a clock that can be moved."""
    stack = town.stack
    stack.environ[f"OPERATOR_{operator.upper()}_URL"] = proxy.address
    town.kill("operator_bridge")
    town.start_server("operator_bridge")
    for service, name in zip(SERVICES, WORKERS, strict=True):
        town.kill(name)
        moved = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_CLOCKWORK), os.environ.get("PYTHONPATH")])),
            "CLOCK_OFFSET_FILE": str(clock_offset_file(stack.directory, name)),
        }
        stack.start(
            name,
            supervised.__file__,
            "worker",
            service,
            "--jobs",
            "short",
            environ={**stack.commands[name][1], **moved},
        )
        stack.ending.discard(name)
