"""Switching between any two operators: how many cheques move in what time, and whether anything differs afterwards.

    .venv/bin/python -m benchmarks.switches [--cheques 2300] [--from aptic --to govstack] [--mode handover]

Each switch has a PostgreSQL of its own, an operator bridge that works as its workers do, and the simulated operators
as real servers or folders. A year at the first operator is made: of the cheques a quarter are redeemed and declared,
some of them paid where it pays, some redeemed at its own till; then it dies or hands over, and the tills go on.
"""

import argparse
import importlib
import importlib.util
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from demo.simulators.serving import serving
from demo.stack import environment
from demo.stack.embedded import EmbeddedPostgres, EmbeddedRedis, free_port
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.contracts import lifecycle, linking
from services.operator_bridge.inbound import statement_polling, webhook_inbox
from services.operator_bridge.inbound.consuming import HANDLERS
from services.operator_bridge.orders import sending
from services.operator_bridge.reconciliation import comparing
from services.operator_bridge.register import contracts
from services.operator_bridge.switching import switchover
from shared.database.migrations import runner as migrations
from shared.eventlog import consumer, event_kinds
from shared.eventlog.log import Event
from shared.observability import logs
from shared.problems import Unavailable
from shared.process.runtime import Runtime
from shared.settings import settings as config
from shared.values import cheque_code, clock
from shared.values.ids import new_id
from souche.keys import Signer

SERVICE = "operator_bridge"
PROGRAMME = "benchmark"
PAYMENT_ORDER = "2026-004711"
MODES = ("handover", "failure")
_ISSUED_AT_ONCE = 5_000
_PATIENCE_SECONDS = 1800.0


class Gone(Exception):
    """The switch did not come to its end in time; the text says what it waited for."""


class Unbalanced(Exception):
    """Something was lost, or is there twice; the text says what."""


@dataclass
class Outside:
    """The world around the bridge: an issuer that gives codes, and the operators that there are."""

    codes: dict[str, str] = field(default_factory=dict)
    simulators: dict[str, Any] = field(default_factory=dict)
    lives: dict[str, ExitStack] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Starts every operator with empty books."""
        for code in lookup.codes():
            if importlib.util.find_spec(f"demo.simulators.{code}"):
                module = importlib.import_module(f"demo.simulators.{code}")
                self.simulators[code] = module.Simulator(module.Account.generate(), "http://127.0.0.1:9/nobody")
                life = self.lives[code] = ExitStack()
                self.settings |= life.enter_context(self.simulators[code].running())

    def die(self, code: str) -> None:
        """An operator is gone for good: nothing listens at its address, or its share is away."""
        if code in self.lives:
            self.lives[code].close()
        if folder := self.folder(code):
            shutil.rmtree(folder / "depot", ignore_errors=True)

    def end(self) -> None:
        """Nobody is there any more."""
        for code in self.lives:
            self.die(code)
            if folder := self.folder(code):
                shutil.rmtree(folder, ignore_errors=True)

    def folder(self, code: str) -> Path | None:
        """Where an operator that exchanges files has them."""
        folder: Path | None = (
            getattr(self.simulators[code].account, "folder", None) if code in self.simulators else None
        )
        return folder

    def issuer(self) -> Flask:
        """What the bridge asks for codes."""
        app = Flask("codes")

        @app.post("/v1/codes")
        def give() -> ResponseReturnValue:
            return jsonify(
                codes=[
                    {"cheque_id": cheque_id, "code": self.codes[cheque_id]} for cheque_id in request.json["cheque_ids"]
                ]
            )

        return app


@dataclass
class Play:
    """One switch, from the first cheque to the last."""

    runtime: Runtime
    outside: Outside
    old: str
    new: str
    mode: str
    structure: UUID = field(default_factory=new_id)
    dead: bool = False
    payment_order: str | None = PAYMENT_ORDER
    """With which cheques are activated where that is needed; none has somebody else do it."""

    def prepare(self, number: int) -> None:
        """A year at the first operator, with all orders sent and its statement read."""
        self.from_id, self.to_id = (
            self._contract(f"from-{self.old}", self.old),
            self._contract(f"to-{self.new}", self.new),
        )
        with self.runtime.transaction() as session:
            lifecycle.change(session, self.runtime.settings.operators, self.from_id, "live")
        self.publish(
            "structure.affiliated",
            {"structure_id": self.structure, "siret": "35600000000048", "name": "Espace public numérique",
             "contract_id": self.from_id, "starts_on": clock.today(), "ends_on": None},
        )  # fmt: skip
        self.cheques = self.issue(number)
        self.work()
        spent = len(self.cheques) // 4
        self.redeem(self.cheques[: spent // 2])
        self.work()
        if self.outside.simulators.get(self.old):
            self.outside.simulators[self.old].pay()
        self.redeem(self.cheques[spent // 2 : spent])
        self.publish("cheques.blocked", {"cheque_ids": self.cheques[-5:], "reason": "lost"})
        self.publish("cheques.cancelled", {"cancellation_id": new_id(), "cheque_ids": self.cheques[-10:-5],
                                        "cancelled_at": clock.now()})  # fmt: skip
        self.work()
        self.unspent = self.cheques[spent:-10]

    def begin(self) -> UUID:
        """Asks for the switch; the old operator is dead by then, where it is a failure."""
        if self.mode == "failure":
            self.outside.die(self.old)
            self.dead = True
        self.redeem(self.unspent[:3])  # what the old operator may never hear of
        body = {"from_contract_id": self.from_id, "to_contract_id": self.to_id, "mode": self.mode, "creditor": "47"}
        with self.runtime.transaction() as session:
            return switchover.start(session, self.runtime.settings.operators, body, "benchmark").switch_id

    def switch(self) -> dict[str, Any]:
        """Switches while the tills go on; gives the report. Raises Gone."""
        switch_id, deadline = self.begin(), time.monotonic() + _PATIENCE_SECONDS
        for turn in itertools.count(1):
            done = switchover.advance(self.runtime, switch_id)
            if done.finished_at or time.monotonic() > deadline:
                break
            if turn <= 3:
                self.redeem(self.unspent[3 * turn : 3 * turn + 3])
                self.issue(5)
            self.work(once=True)
        if not done.finished_at:
            raise Gone(f"{done.step}: {done.waiting_for}")
        self.work()
        return dict(done.report or {})

    def check(self) -> None:
        """Raises Unbalanced unless each cheque and each cent is with whoever has to have it, there as here."""
        wrong = [row for row in self.rows(_STANDING) if (row.held, row.redemptions) not in _RIGHT[row.state]]
        _expect(not wrong, f"cheques that nobody has, or two: {wrong}")
        payers = {
            (row.state, row.contract_id) for row in self.rows("SELECT DISTINCT state, contract_id FROM redemption")
        }
        right = {("paid", self.from_id), ("confirmed", self.to_id)}
        right |= set() if self.dead else {("confirmed", self.from_id)}
        _expect(payers <= right, f"redemptions that nobody is to pay: {payers - right}")
        unsettled = self.rows(_UNSETTLED)
        _expect(not unsettled, f"orders without an outcome: {unsettled}")
        for contract in [self.to_id] if self.dead else [self.to_id, self.from_id]:
            compared = comparing.compare(self.runtime, contract)
            _expect(compared.count == 0, f"the operator differs: {compared.differences}")

    def issue(self, number: int) -> list[UUID]:
        """Publishes cheques of 10 € as the issuer does."""
        cheques = [new_id() for _ in range(number)]
        self.outside.codes.update({str(cheque): cheque_code.generate() for cheque in cheques})
        today = clock.today()
        for part in _parts(cheques):
            self.publish(
                "cheques.issued",
                {"grant_id": new_id(), "granted_on": today, "valid_until": today + timedelta(days=300),
                 "presentable_until": today + timedelta(days=330),
                 "programme": {"code": PROGRAMME, "spendable": "on_issue", "services": [], "territory": []},
                 "cheques": [{"cheque_id": cheque_id, "digest": "0" * 64, "value_cents": 1000} for cheque_id in part]},
            )  # fmt: skip
        return cheques

    def redeem(self, cheques: Sequence[UUID]) -> None:
        """Publishes redemptions at our tills."""
        self.publish(
            "cheques.redeemed",
            {"presentation_id": new_id(), "structure_id": self.structure, "programme": PROGRAMME, "via": "till",
             "contract_id": None, "redeemed_at": clock.now(), "given_on": clock.today(),
             "redemptions": [
                 {"redemption_id": new_id(), "cheque_id": cheque, "amount_cents": 1000} for cheque in cheques
             ]},
        )  # fmt: skip

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        """Applies another service's news, as the consumer does."""
        loaded = event_kinds.load(kind, body)
        event = Event(new_id(), kind, "key", datetime.now(UTC), loaded)
        with self.runtime.transaction() as session:
            consumer.run_handlers(session, [event], HANDLERS)

    def work(self, *, once: bool = False) -> None:
        """Sends what is due and hears what comes back, as the workers do, until nothing moves any more."""
        while True:
            sent = sum(self._work(contract, code) for contract, code in self._contracts())
            if once or not sent:
                return

    def rows(self, query: str) -> Sequence[Any]:
        """What a query finds in the bridge's own schema."""
        with self.runtime.transaction() as session:
            return session.execute(sa.text(query)).all()

    def _contracts(self) -> list[tuple[UUID, str]]:
        both = [(self.from_id, self.old), (self.to_id, self.new)]
        return [(contract, code) for contract, code in both if not (self.dead and contract == self.from_id)]

    def _work(self, contract: UUID, code: str) -> int:
        sent = sending.push(self.runtime, contract, 60.0)
        with self.runtime.transaction() as session:
            live = contracts.find(session, contract).state == "live"
            if self.payment_order and live and lookup.adapter(code).activates:
                sent += linking.activate(session, contract, self.payment_order)
        simulator = self.outside.simulators.get(code)
        if simulator is not None and hasattr(simulator, "work_off"):
            simulator.work_off()
            simulator.state_all()
        with suppress(Unavailable):
            statement_polling.poll(self.runtime, contract)
        webhook_inbox.apply_waiting(self.runtime)
        return sent

    def _contract(self, code: str, operator: str) -> UUID:
        body = {"code": code, "operator": operator, "programme": PROGRAMME, "starts_on": clock.today()}
        with self.runtime.transaction() as session:
            return lifecycle.create(session, body).contract_id


_STANDING = """
    SELECT state, coalesce(held, 0) AS held, coalesce(redemptions, 0) AS redemptions, count(*) AS number
    FROM cheque
    LEFT JOIN (SELECT cheque_id, count(*) AS held FROM link JOIN contract USING (contract_id)
               WHERE link.state = 'registered' AND contract.state = 'live' GROUP BY cheque_id) held USING (cheque_id)
    LEFT JOIN (SELECT cheque_id, count(*) AS redemptions FROM redemption WHERE state <> 'reversed' GROUP BY cheque_id)
         spent USING (cheque_id)
    GROUP BY 1, 2, 3
"""
_PAYERS = "SELECT DISTINCT state, contract_id FROM redemption"
_UNSETTLED = "SELECT kind, state, count(*) FROM operator_order WHERE state NOT IN ('accepted', 'refused') GROUP BY 1, 2"

# By a cheque's state: by how many live contracts it is held, and how many redemptions it has.
_RIGHT: Mapping[str, set[tuple[int, int]]] = {
    "open": {(1, 0)}, "redeemed": {(0, 1), (1, 1)}, "cancelled": {(0, 0)}, "expired": {(0, 0)},
}  # fmt: skip


def _expect(right: bool, otherwise: str) -> None:
    if not right:
        raise Unbalanced(otherwise)


def _parts(cheques: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    return (cheques[start : start + _ISSUED_AT_ONCE] for start in range(0, len(cheques), _ISSUED_AT_ONCE))


@contextmanager
def bridge(outside: Outside) -> Iterator[Runtime]:
    """An operator bridge on an empty database of its own."""
    with tempfile.TemporaryDirectory(prefix="souche-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)
        server = stack.enter_context(EmbeddedPostgres.start(folder / "pg"))
        redis = stack.enter_context(EmbeddedRedis.start(folder / "redis"))
        address = stack.enter_context(serving(outside.issuer()))
        urls = {service: server.url(f"souche_{service}") for service in config.SERVICES}
        addresses = dict.fromkeys(config.SERVICES, f"http://127.0.0.1:{free_port()}") | {"issuer": address}
        environ = environment.generate(Signer.generate(), urls, redis.url, addresses)
        migrations.upgrade(SERVICE, server.url(), urls[SERVICE])
        yield Runtime(config.load(SERVICE, environ | outside.settings | {"LOG_LEVEL": "CRITICAL"}))


def play(old: str, new: str, mode: str, number: int) -> str:
    """Plays one switch and says what came of it, in a line."""
    outside = Outside()
    outside.begin()
    try:
        with bridge(outside) as runtime:
            made = Play(runtime, outside, old, new, mode)
            made.prepare(number)
            began = time.perf_counter()
            report = made.switch()
            seconds = time.perf_counter() - began
            made.check()
            runtime.engine.dispose()
    finally:
        outside.end()
    moved = report["moved"]["number"] + report["declared_again"]["number"]
    refused = report["refused_by_new"]["number"]
    return f"{moved:>8,} {seconds:>8.1f} s {report['differences']:>12} {refused:>9}"


def main() -> None:
    """Plays every switch that was asked for, and prints a line of each."""
    parser = argparse.ArgumentParser(description="Switch between any two operators.")
    parser.add_argument("--cheques", type=int, default=2300)
    parser.add_argument("--from", dest="old", choices=lookup.codes())
    parser.add_argument("--to", dest="new", choices=lookup.codes())
    parser.add_argument("--mode", choices=MODES)
    arguments = parser.parse_args()
    logs.configure(SERVICE, "CRITICAL")
    say(f"{'from':<10} {'to':<10} {'mode':<9} {'moved':>8} {'time':>10} {'differences':>12} {'refused':>9}")
    for old, new in itertools.permutations(lookup.codes(), 2):
        for mode in MODES:
            if all(
                wanted in (None, code)
                for wanted, code in ((arguments.old, old), (arguments.new, new), (arguments.mode, mode))
            ):
                say(f"{old:<10} {new:<10} {mode:<9} {play(old, new, mode, arguments.cheques)}")


def say(line: str) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
