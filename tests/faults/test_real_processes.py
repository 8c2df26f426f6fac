"""The real processes while some are killed and the broker is wiped: nothing is lost, nothing happens twice.

One small town, its stack started once. Each test leaves it whole, and ends with every balance recomputed.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import pytest
import redis
import requests

from demo import children, preparing, settling
from demo.calls import Calls
from demo.embedded import EmbeddedRedis
from demo.stack import Stack, running
from demo.world import World
from demo.year import ADMIN, Year
from shared import clock
from shared.config import SERVICES

pytestmark = pytest.mark.timeout(240)
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
        children.kill(self.stack.processes.pop(name))

    def start_worker(self, service: str) -> None:
        """Starts a worker again."""
        arguments = ("-m", "souche", "worker", service)
        self.stack.start(f"{service}-worker", *arguments, environ={"REMAP_SIGTERM": "SIGTERM"})

    def start_server(self, service: str) -> None:
        """Starts a web server again, where it was, and waits until it is ready."""
        address = self.stack.addresses[service]
        self.stack.start(service, "-m", "souche", "serve", service, "--port", address.rpartition(":")[2])
        assert eventually(lambda: is_ready(address))

    def assert_balanced(self) -> None:
        """Waits until all is settled and recomputes every balance."""
        settling.settle(self.year, Silent())
        verified = self.stack.souche("verify", "--wait", "30")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def is_ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/readyz", timeout=2).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    world = World.read(clock.today(), 0.05)
    with running(world.described["contract"]["operator"], lambda _: None) as stack:
        year = Year(world, Calls(stack.signer, stack.addresses))
        preparing.prepare(year, Silent())
        yield Town(stack, year)


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def test_a_broker_wiped_again_and_again_in_mid_flow_loses_no_cheque(town: Town) -> None:
    before, done = town.states().get("spendable", 0), threading.Event()

    def wipe() -> None:
        with redis.Redis.from_url(town.stack.environ["REDIS_URL"]) as broker:
            while not done.wait(0.05):
                broker.flushall()

    wiper = threading.Thread(target=wipe)
    wiper.start()
    try:
        codes = town.grant(40)
        for code in codes[:20]:
            eventually(lambda: town.states().get("spendable", 0) > before)
            town.present(code)
    finally:
        done.set()
        wiper.join()
    assert eventually(lambda: town.states().get("spendable", 0) == before + len(codes) - 20)
    town.assert_balanced()


def test_workers_killed_in_mid_flow_lose_and_double_nothing(town: Town) -> None:
    before = town.states().get("spendable", 0)
    with ThreadPoolExecutor(1) as background:
        granting = background.submit(town.grant, 60)
        for service in SERVICES:
            time.sleep(0.3)
            town.kill(f"{service}-worker")
        codes = granting.result()
    for service in SERVICES:
        town.start_worker(service)
    assert eventually(lambda: town.states().get("spendable", 0) == before + len(codes))
    town.present(codes[0])
    town.present(codes[0], expected=409)
    town.assert_balanced()


def test_a_lost_cheque_is_replaced_within_moments_and_after_the_redeemer_was_down_once_it_is_back(town: Town) -> None:
    first, second = (town._grant()["cheques"][0] for _ in range(2))
    settling.settle(town.year, Silent())
    replaced = town.report_lost(first["cheque_id"])
    assert eventually(lambda: bool(town.new_codes(replaced)), 20)
    town.present(first["code"], expected=409)
    town.present(town.new_codes(replaced)[0])
    for name in ("redeemer", "redeemer-worker"):
        town.kill(name)
    waiting = town.report_lost(second["cheque_id"])
    time.sleep(1)
    assert town.new_codes(waiting) == []
    town.start_server("redeemer")
    town.start_worker("redeemer")
    assert eventually(lambda: bool(town.new_codes(waiting)))
    town.present(second["code"], expected=409)
    town.present(town.new_codes(waiting)[0])
    town.assert_balanced()


def test_tills_go_on_while_the_issuer_the_bridge_and_the_broker_are_down(town: Town) -> None:
    codes, before = town.grant(4), town.states().get("redeemed", 0)
    settling.settle(town.year, Silent())
    for name in ("issuer", "operator_bridge"):
        town.kill(name)
    broker = town.stack.servers.pop("valkey")
    children.kill(broker)
    began = time.monotonic()
    for code in codes:
        town.present(code)
    assert time.monotonic() - began < 5.0
    assert town.states()["redeemed"] == before + len(codes)
    port = int(town.stack.environ["REDIS_URL"].rpartition(":")[2].partition("/")[0])
    valkey = EmbeddedRedis.start(town.stack.directory / "redis", port)
    town.stack.servers["valkey"] = valkey.process
    for name in ("issuer", "operator_bridge"):
        town.start_server(name)
    town.assert_balanced()
    town.stack.servers.pop("valkey")
    valkey.stop()
