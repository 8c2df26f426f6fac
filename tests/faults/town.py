"""A small town whose every process is real, and can be killed, paused and started again."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import requests

from demo.acts import preparing, settling
from demo.acts.calls import Calls
from demo.acts.year import ADMIN, Year
from demo.stack import children
from demo.stack.embedded import EmbeddedPostgres, EmbeddedRedis
from demo.stack.stack import Stack, running
from demo.world.world import World
from shared.values import clock
from tests.faults import processes

SCALE = 0.05
CLIENTS = 4


class Silent:
    """A progress bar that nobody watches."""

    def begin(self, total: int) -> None:
        """Nothing to show."""

    def advance(self, by: int = 1) -> None:
        """Nothing to show."""


@dataclass
class Town:
    """The stack, and who takes part."""

    stack: Stack
    year: Year

    def grant(self, number: int) -> list[str]:
        """Makes so many grants of five cheques, several at a time, and gives the codes."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            made = clients.map(lambda _: self._grant(), range(number))
        return [cheque["code"] for grant in made for cheque in grant["cheques"]]

    def _grant(self) -> dict[str, list[dict[str, str]]]:
        body = {"programme": self.year.world.programme["code"], "amount_cents": 5000, "reason": "evaluation"}
        adviser = self.year.advisers[0]
        made: dict[str, list[dict[str, str]]] = self.year.calls.post(
            "issuer", "/v1/grants", adviser, body, key=str(uuid4()), expected=(201,)
        )
        return made

    def present(self, code: str, expected: int = 201) -> None:
        """Presents one code at a till, which must answer so."""
        body, till = {"codes": [code]}, self.year.structures[0]
        self.year.calls.post("redeemer", "/v1/redemptions", till, body, key=str(uuid4()), expected=(expected,))

    def report_lost(self, cheque_id: str) -> str:
        """Asks that a cheque be replaced; gives the id of the request."""
        body = {"cheque_ids": [cheque_id], "cause": "lost", "reason": "perdu"}
        adviser = self.year.advisers[0]
        asked = self.year.calls.post("issuer", "/v1/replacements", adviser, body, key=str(uuid4()), expected=(202,))
        return str(asked["replacement_id"])

    def new_codes(self, replacement_id: str) -> list[str]:
        """The codes of the new cheques, as soon as there are any."""
        shown = self.year.calls.get("issuer", f"/v1/replacements/{replacement_id}", self.year.advisers[0])
        return [line["new_cheque"]["code"] for line in shown["cheques"] if line["new_cheque"]]

    def states(self) -> dict[str, int]:
        """How many cheques the redeemer has in each state."""
        programmes = self.year.calls.get("redeemer", "/v1/balances", ADMIN)["programmes"]
        states: dict[str, dict[str, int]] = programmes[0]["states"] if programmes else {}
        return {state: counted["number"] for state, counted in states.items()}

    def kill(self, name: str) -> None:
        """kill -9, the process and its children."""
        self.stack.ending.add(name)
        children.kill(self.stack.processes[name])

    def start(self, name: str) -> None:
        """Starts again what was killed, as it was, at once and without waiting for it."""
        self.stack.start_again(name)

    def start_worker(self, service: str) -> None:
        """Starts a worker again."""
        self.start(f"{service}-worker")

    def start_server(self, service: str) -> None:
        """Starts a web server again, where it was, and waits until it is ready."""
        self.start(service)
        assert eventually(lambda: is_ready(self.stack.addresses[service]))

    def serves(self) -> bool:
        """Whether all services and the operators can serve."""
        return all(map(is_ready, [*self.stack.addresses.values(), *self.stack.operators.values()]))

    def pause(self, name: str) -> None:
        """SIGSTOP, to the process and all that it started."""
        processes.signal_family(self.process(name).pid, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT, to all of them."""
        processes.signal_family(self.process(name).pid, signal.SIGCONT)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """A process by its name, the database and the broker included."""
        return (self.stack.servers | self.stack.processes)[name]

    def stop_broker(self) -> None:
        """kill -9."""
        self.stack.ending.add("valkey")
        children.kill(self.stack.servers["valkey"])

    def start_broker(self) -> None:
        """Starts it where it was, with what its file holds."""
        port = int(self.stack.environ["REDIS_URL"].rpartition(":")[2].partition("/")[0])
        self.stack.servers["valkey"] = EmbeddedRedis.start(self.stack.directory / "redis", port).process
        self.stack.ending.discard("valkey")

    def stop_database(self) -> None:
        """`pg_ctl stop -m immediate`: every session is cut, and the next start recovers from the log."""
        self.stack.ending.add("postgresql")
        children.stop(self.stack.servers["postgresql"], signal.SIGQUIT)

    def start_database(self) -> None:
        """Starts it where it was."""
        self.stack.servers["postgresql"] = EmbeddedPostgres.start(self.stack.directory / "pg").process
        self.stack.ending.discard("postgresql")

    def assert_balanced(self) -> None:
        """Waits until all is settled and recomputes every balance."""
        settling.settle(self.year, Silent())
        verified = self.stack.souche("verify", "--wait", "30")
        assert verified.returncode == 0, verified.stdout + verified.stderr


@contextlib.contextmanager
def town(scale: float = SCALE, arguments: Sequence[str] = ()) -> Iterator[Town]:
    """A town whose life has begun; the servers that were started again end with it. `arguments` are the operator's."""
    world = World.read(clock.today(), scale)
    with running(world.described["contract"]["operator"], lambda _: None, arguments=arguments) as stack:
        year = Year(world, Calls(stack.signer, stack.addresses))
        preparing.prepare(year, Silent())
        try:
            yield Town(stack, year)
        finally:
            stack.stopping = True
            stack.stop()
            for process in stack.servers.values():
                children.stop(process, signal.SIGINT)


def is_ready(address: str) -> bool:
    """Whether a service can serve."""
    try:
        return requests.get(f"{address}/readyz", timeout=2).ok
    except requests.RequestException:
        return False


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether something comes to hold within a time."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def clock_offset_file(directory: Path, name: str) -> Path:
    """The file by which a worker's clock is moved."""
    return directory / f"{name}.clock"
