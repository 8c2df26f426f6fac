"""Every key is rotated while prescribers grant and tills redeem: no request fails, nothing is left under old keys."""

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from services import issuer, redeemer
from services.issuer import key_rotation
from shared.eventlog.event_kinds import READERS
from shared.process.runtime import Runtime
from shared.settings import settings
from shared.settings.settings import SERVICES, read_keys, write_key
from souche.keys import ADD, DROP, SECRET_KEYS, USE, Signer, rotated
from tests.journey.conftest import World

RINGS = (*SECRET_KEYS, "ISSUER_SIGNING_KEYS", "REDEEMER_SIGNING_KEYS")
PEOPLE = [{"family_name": f"Dupont {number}", "given_name": "Anne", "birth_date": "1961-03-09"} for number in range(5)]
CREATE: Mapping[str, Callable[[settings.Settings], Flask]] = {
    "issuer": issuer.create_app,
    "redeemer": redeemer.create_app,
}


@dataclass
class Deployment:
    """Two processes of the issuer and two of the redeemer, restarted one at a time, and who calls them."""

    world: World
    environ: dict[str, str]
    signers: list[Signer]
    processes: dict[str, list[Flask]] = field(default_factory=dict)
    granted: "queue.Queue[list[str]]" = field(default_factory=queue.Queue)
    spendable: "queue.Queue[str]" = field(default_factory=queue.Queue)
    kept: list[str] = field(default_factory=list)
    """Codes from before, that nobody has presented yet."""
    failures: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=lambda: {"grants": 0, "redemptions": 0})
    login: int = 0
    """Raised to have everybody ask for new tokens."""
    stopping: bool = False

    def turn(self, step: str) -> None:
        """Takes every setting through a step of its rotation, and the processes with it."""
        for name in RINGS:
            ring = rotated(read_keys(self.environ[name]), step)
            self.environ[name] = ",".join(write_key(key_id, key) for key_id, key in ring.items())
        if step == ADD:
            self.signers.append(Signer.generate("k2"))
        elif step == USE:
            self.signers.reverse()
        else:
            del self.signers[1:]
        self.environ["TOKEN_PUBLIC_KEYS"] = ",".join(write_key(one.key_id, one.public_key) for one in self.signers)
        self.restart()

    def restart(self) -> None:
        for service, running in self.processes.items():
            for number, former in enumerate(running):
                running[number] = CREATE[service](settings.load(service, self.environ))
                time.sleep(0.1)  # what was in hand ends
                former.extensions["souche"].runtime.engine.dispose()

    def ask(self, service: str, path: str, token: str, body: Any, key: str) -> TestResponse:
        process = random.choice(self.processes[service])
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        return process.test_client().post(path, json=body, headers=headers)

    def token(self, service: str, role: str, secret: tuple[str, str] | None) -> str:
        """By a client's secret where the program has one, else signed by the key in use."""
        if secret is None:
            scope = self.world.prescriber if role == "prescriber" else self.world.structure
            return self.signers[0].token(role, scope, "agent", timedelta(minutes=10))
        form = {"grant_type": "client_credentials", "client_id": secret[0], "client_secret": secret[1]}
        answer = random.choice(self.processes[service]).test_client().post("/v1/oauth/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["access_token"])

    def expect(self, answer: TestResponse, what: str) -> bool:
        if answer.status_code != 201:
            self.failures.append(f"{what}: {answer.status_code} {answer.text}")
        return answer.status_code == 201

    def grant(self, secret: tuple[str, str] | None) -> None:
        """Grants again and again; now and then the answer is lost and the request repeated, by another process."""
        body = {"programme": "pass-numerique", "amount_cents": 5000, "reason": "evaluation"}
        seen, token = -1, ""
        last: tuple[dict[str, Any], str, bytes] | None = None
        while not self.stopping:
            if seen != self.login:
                seen, token = self.login, self.token("issuer", "prescriber", secret)
            asked, key = {**body, "beneficiary": random.choice(PEOPLE)}, str(uuid4())
            answer = self.ask("issuer", "/v1/grants", token, asked, key)
            if self.expect(answer, "grant"):
                self.done["grants"] += 1
                self.granted.put([cheque["code"] for cheque in answer.get_json()["cheques"]])
            if last:
                again = self.ask("issuer", "/v1/grants", token, last[0], last[1])
                if self.expect(again, "repeat") and again.data != last[2]:
                    self.failures.append("a repeat was answered otherwise")
            if last is None or random.random() < 0.3:
                last = (asked, key, answer.data)
            time.sleep(0.02)

    def redeem(self, secret: tuple[str, str] | None) -> None:
        """Presents what can be spent; now and then once more, with the same key."""
        seen, token = -1, ""
        last: tuple[dict[str, Any], str, Any] | None = None
        while not self.stopping:
            if seen != self.login:
                seen, token = self.login, self.token("redeemer", "structure", secret)
            try:
                code = self.spendable.get(timeout=0.1)
            except queue.Empty:
                continue
            asked, key = {"codes": [code]}, str(uuid4())
            answer = self.ask("redeemer", "/v1/redemptions", token, asked, key)
            if self.expect(answer, "redemption"):
                self.done["redemptions"] += 1
            if last:
                again = self.ask("redeemer", "/v1/redemptions", token, last[0], last[1])
                if self.expect(again, "repeated redemption") and again.get_json() != last[2]:
                    self.failures.append("a repeated redemption was answered otherwise")
            if last is None or random.random() < 0.3:
                last = (asked, key, answer.get_json())

    def carry(self) -> None:
        """Carries news; of every grant's cheques some are presented soon, the others are kept for later."""
        while not self.stopping:
            fresh = [self.granted.get() for _ in range(self.granted.qsize())]
            for publisher in SERVICES:
                for reader in READERS[publisher]:
                    self.world._carry(publisher, reader)
            for codes in fresh:
                for code in codes[:3]:
                    self.spendable.put(code)
                self.kept += codes[3:]
            time.sleep(0.05)

    @contextmanager
    def traffic(self, clients: Mapping[str, tuple[str, str]]) -> Iterator[None]:
        """Keeps calling from several sides until the block ends."""
        works: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            (self.grant, (None,)), (self.grant, (clients["issuer"],)), (self.redeem, (None,)),
            (self.redeem, (clients["redeemer"],)), (self.carry, ()),
        ]  # fmt: skip
        threads = [threading.Thread(target=work, args=given) for work, given in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopping = True
            for thread in threads:
                thread.join()

    def pause(self, seconds: float = 0.7) -> None:
        time.sleep(seconds)
        assert self.failures == []


@pytest.fixture
def deployment(world: World, signer: Signer) -> Iterator[Deployment]:
    environ = dict(world.services["issuer"].environ) | {"DATABASE_POOL_SIZE": "4"}
    made = Deployment(world, environ, [signer])
    for service, create in CREATE.items():
        made.processes[service] = [create(settings.load(service, environ)) for _ in range(2)]
    yield made
    for running in made.processes.values():
        for process in running:
            process.extensions["souche"].runtime.engine.dispose()


def registered(world: World, service: str, role: str, scope: Any) -> tuple[str, str]:
    body = {"name": "Logiciel", "role": role, "scope": str(scope)}
    client_id = world.ask(service, "POST", "/v1/oauth/clients", "admin", body)["client_id"]
    return client_id, world.ask(service, "POST", f"/v1/oauth/clients/{client_id}/secrets", "admin")["client_secret"]


@pytest.mark.slow
def test_every_key_is_rotated_under_traffic(deployment: Deployment) -> None:
    world = deployment.world
    clients = {
        "issuer": registered(world, "issuer", "prescriber", world.prescriber),
        "redeemer": registered(world, "redeemer", "structure", world.structure),
    }
    before = dict(deployment.environ)
    with deployment.traffic(clients):
        deployment.pause()
        for step in (ADD, USE):
            deployment.turn(step)
            deployment.pause()
        deployment.login += 1
        move(deployment)
        deployment.pause()
        deployment.turn(DROP)
        deployment.pause()
    assert deployment.failures == []
    assert min(deployment.done.values()) > 20, deployment.done
    assert all(set(read_keys(before[name])).isdisjoint(read_keys(deployment.environ[name])) for name in RINGS)
    with world.services["issuer"].runtime.transaction() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM beneficiary")) == len(PEOPLE)
    assert_all_can_be_spent(deployment)


def move(deployment: Deployment) -> None:
    """Re-encrypts and tells the digests in small batches, breaks off in the middle, and goes on."""
    runtime = Runtime(settings.load("issuer", deployment.environ))
    for what in key_rotation.SEALED:
        next(key_rotation.reseal(runtime, what, 2), None)
        moved = sum(key_rotation.reseal(runtime, what, 10))
        assert moved > 0 or what.name == "replacements"  # nobody has lost a cheque
    sum(key_rotation.redigest_people(runtime, 2))
    next(key_rotation.publish_digests(runtime, 10))
    with runtime.transaction() as session:
        assert set(key_rotation.count_former(session, runtime.settings.keys).values()) == {0}
    assert sum(key_rotation.publish_digests(runtime, 10)) > 0
    assert sum(key_rotation.publish_digests(runtime, 10)) == 0
    last = deployment.world.services["issuer"].runtime
    with last.transaction() as session:
        told = session.scalar(sa.text("SELECT max(sequence) FROM event"))
    deadline = time.monotonic() + 20
    while applied(deployment) < told and time.monotonic() < deadline:
        time.sleep(0.1)
    runtime.engine.dispose()


def applied(deployment: Deployment) -> int:
    """How far the redeemer has read the issuer's log."""
    with deployment.world.services["redeemer"].runtime.transaction() as session:
        return int(session.scalar(sa.text("SELECT position FROM cursor WHERE publisher = 'issuer'")) or 0)


def assert_all_can_be_spent(deployment: Deployment) -> None:
    """Every cheque from before, between and after, by its code on paper, with the new keys alone."""
    deployment.world.settle()
    left = [code for codes in deployment.granted.queue for code in codes]
    codes = [*deployment.kept, *deployment.spendable.queue, *left]
    token = deployment.token("redeemer", "structure", None)
    for start in range(0, len(codes), 50):
        answer = deployment.ask(
            "redeemer", "/v1/redemptions", token, {"codes": codes[start : start + 50]}, str(uuid4())
        )
        assert answer.status_code == 201, answer.text
