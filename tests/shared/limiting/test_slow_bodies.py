"""Who sends slowly is waited for by a few threads, and everybody else is served meanwhile."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest
import requests

from demo.stack.embedded import free_port
from shared.limiting import slow_bodies as waiting
from shared.limiting.slow_bodies import SlowBodies, TooSlow
from tests.harness import ServiceUnderTest

PATIENCE = 30.0
DOORS = {"issuer": "/v1/oauth/token", "operator_bridge": "/v1/operators/docaposte/webhooks"}
WEBHOOKS = {
    "OPERATOR_DOCAPOSTE_URL": "http://127.0.0.1:1",
    "OPERATOR_DOCAPOSTE_CLIENT_ID": "us",
    "OPERATOR_DOCAPOSTE_CLIENT_SECRET": "Xq83kdLmWp2v7sTz91Rb",
    "OPERATOR_DOCAPOSTE_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


@contextmanager
def process(service: ServiceUnderTest) -> Iterator[str]:
    """The web server of a service as it is run, and its address."""
    name, port = service.settings.service, free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "souche", "serve", name, "--port", str(port)]
    settings = os.environ | dict(service.environ) | WEBHOOKS
    running = subprocess.Popen(command, env=settings, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: requests.get(f"{address}/healthz", timeout=PATIENCE).ok)
        yield address
    finally:
        os.killpg(running.pid, signal.SIGKILL)  # its worker too, which would wait for what is in hand
        running.wait()


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if found():
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError("it does not come")


def begin(address: str, path: str, token: str = "") -> socket.socket:
    """A request whose body does not come."""
    where = urlsplit(address)
    kind = "application/x-www-form-urlencoded" if "oauth" in path else "application/json"
    head = [f"POST {path} HTTP/1.1", f"Host: {where.netloc}", f"Content-Type: {kind}", "Content-Length: 1000"]
    head += [f"Authorization: Bearer {token}"] if token else []
    found = socket.create_connection((where.hostname or "", where.port or 0))
    found.sendall("\r\n".join([*head, "", "{"]).encode())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", DOORS)
def test_who_sends_no_body_does_not_keep_the_others_from_being_served(
    service: Callable[[str], ServiceUnderTest], name: str
) -> None:
    under_test = service(name)
    reading, door = "/v1/programmes" if name == "issuer" else "/v1/contracts", DOORS[name]
    with process(under_test) as address, ExitStack() as connections:
        for _ in range(40):
            connections.enter_context(begin(address, door))
        mine = {"Authorization": f"Bearer {under_test.token('admin')}"}
        assert requests.get(f"{address}/healthz", timeout=PATIENCE).ok
        assert requests.get(address + reading, headers=mine, timeout=PATIENCE).status_code == 200
        assert requests.post(address + reading, json={}, headers=mine, timeout=PATIENCE).status_code == 422
        connections.close()
        until(lambda: requests.post(address + door, json={}, timeout=PATIENCE).status_code in (400, 401))


@pytest.mark.slow
def test_a_caller_who_sends_no_body_does_not_keep_another_caller_from_being_served(issuer: ServiceUnderTest) -> None:
    thief = issuer.token("admin", subject="thief")
    with process(issuer) as address, ExitStack() as connections:
        for _ in range(40):
            connections.enter_context(begin(address, "/v1/programmes", thief))
        mine = {"Authorization": f"Bearer {issuer.token('admin', subject='jeanne')}"}
        answer = requests.post(f"{address}/v1/programmes", json={}, headers=mine, timeout=PATIENCE)
        assert answer.status_code == 422


def test_more_than_half_of_the_threads_wait_for_nobody() -> None:
    bodies = SlowBodies(8)
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(bodies.waited_for("x"))
        with pytest.raises(TooSlow), bodies.waited_for("x"):
            raise AssertionError("there were four already")
        held.enter_context(bodies.waited_for("y"))
    with bodies.waited_for("x"):
        pass


def test_bodies_that_arrive_make_room_for_the_next_and_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_A_MOMENT", 60.0)  # on a machine where all else is slow too
    bodies, served = SlowBodies(2), []

    def send() -> None:
        with bodies.waited_for("x"):
            time.sleep(0.01)
            served.append(1)

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(served) == 16
