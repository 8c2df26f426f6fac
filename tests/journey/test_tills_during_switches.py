"""Our tills while the operator is changed: whoever leaves, whoever comes, they refuse nothing that they took before."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from benchmarks.switches import MODES, PAYMENT_ORDER, Outside
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.contracts import linking
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.orders import sending
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.transitions import WORKING
from services.operator_bridge.switching import switchover
from shared.eventlog.event_kinds import READERS
from shared.problems import Unavailable
from shared.settings.settings import SERVICES
from souche.commands.verify import verify
from tests.harness import ServiceUnderTest
from tests.journey.conftest import PROGRAMME, World
from tests.outside import operator_settings, outside
from tests.serving import served

__all__ = ["operator_settings", "outside"]

QUICK = [("aptic", "govstack", "failure"), ("govstack", "aptic", "handover")]
PAIRS = [(old, new, mode) for old, new in permutations(lookup.codes(), 2) for mode in MODES]
TERMS = ("on_issue", "on_registration")


@dataclass
class Town(World):
    """A world whose operator is changed while a queue stands at the till."""

    outside: Outside = field(kw_only=True)
    queue: list[str] = field(default_factory=list)
    """Codes that the till takes."""
    refused: dict[str, str] = field(default_factory=dict)
    """Codes that it does not take, and why."""
    dead: bool = False

    def fill(self) -> None:
        cheques = [cheque for _ in range(8) for cheque in self.grant()["cheques"]]
        self.rest()
        blocked, cancelled, spent = cheques[:3]
        for path, cheque in (("/v1/blocks", blocked), ("/v1/cancellations", cancelled)):
            body = {"cheque_ids": [cheque["cheque_id"]], "reason": "lost"}
            self.ask("issuer", "POST", path, "prescriber", body, scope=self.prescriber)
        self.rest()
        assert self.present(spent["code"]).status_code == 201
        self.rest()
        self.queue = [cheque["code"] for cheque in cheques[3:]]
        self.refused = {cheque["code"]: self.why_not(cheque["code"]) for cheque in cheques[:3]}

    def why_not(self, code: str) -> str:
        answer = self.present(code)
        assert answer.status_code == 409, answer.text
        return str(answer.get_json()["type"])

    def serve(self) -> None:
        """The next in the queue is served, and whoever was refused before is for the same reason."""
        answer = self.present(self.queue.pop(0))
        assert answer.status_code == 201, answer.text
        for code, reason in self.refused.items():
            assert self.why_not(code) == reason

    def change(self, new: str, mode: str) -> Mapping[str, Any]:
        """Changes the operator, serving all the time; gives the report."""
        made = self.ask("operator_bridge", "POST", "/v1/contracts", "admin", {
            "code": "next", "operator": new, "programme": "pass-numerique", "starts_on": "2026-01-01"})  # fmt: skip
        if mode == "failure":
            self.outside.die(self.operator)
            self.dead = True
        self.serve()
        body = {"from_contract_id": str(self.contract), "to_contract_id": made["contract_id"], "mode": mode}
        switch = self.ask("operator_bridge", "POST", "/v1/switches", "admin", body)
        for _ in range(30):
            self.serve()
            done = switchover.advance(self.bridge, UUID(switch["switch_id"]), batch_size=10)
            self.serve_and_carry()
            if done.finished_at:
                return dict(done.report or {})
            if len(self.queue) < 5:
                self.queue += [cheque["code"] for cheque in self.grant()["cheques"]]
                self.serve_and_carry()
        raise AssertionError(f"{done.step}: {done.waiting_for}")

    def serve_and_carry(self) -> None:
        self.carry()
        self.work()
        self.serve()

    def rest(self) -> None:
        """News is carried and operators work until nothing moves any more."""
        while self.carry() + self.work():
            pass

    def carry(self) -> int:
        return sum(self._carry(publisher, reader) for publisher in SERVICES for reader in READERS[publisher])

    def work(self) -> int:
        """Each operator is sent what is due, does it, and is heard."""
        with self.bridge.transaction() as session:
            working = session.query(Contract).filter(Contract.state.in_(WORKING)).all()
        return sum(
            self._work(contract) for contract in working if not (self.dead and contract.operator == self.operator)
        )

    def _work(self, contract: Contract) -> int:
        sent = sending.push(self.bridge, contract.contract_id, 5.0)
        if contract.state == "live" and lookup.adapter(contract.operator).activates:
            with self.bridge.transaction() as session:
                sent += linking.activate(session, contract.contract_id, PAYMENT_ORDER)
        simulator = self.outside.simulators.get(contract.operator)
        if simulator is not None and hasattr(simulator, "work_off"):
            simulator.work_off()
            simulator.state_all()
        with suppress(Unavailable):
            statement_polling.poll(self.bridge, contract.contract_id)
        return sent

    def push(self) -> None:
        self.work()

    @property
    def bridge(self) -> Any:
        return self.services["operator_bridge"].runtime


@pytest.fixture
def town(service: Callable[[str], ServiceUnderTest], outside: Outside) -> Iterator[Callable[[str, str], Town]]:
    """Makes a town with an operator, in whose programme cheques can be spent from one moment or from another."""
    with ExitStack() as stack:
        services = {name: service(name) for name in SERVICES}
        for under_test in services.values():
            stack.enter_context(served(under_test.app, under_test.settings.peers[under_test.settings.service]))

        def make(operator: str, spendable: str) -> Town:
            made = Town(services, operator, PROGRAMME | {"spendable": spendable}, outside=outside)
            made.prepare()
            made.fill()
            return made

        yield make


def play(town: Callable[[str, str], Town], spendable: str, old: str, new: str, mode: str) -> None:
    made = town(old, spendable)
    report = made.change(new, mode)
    assert (report["differences"], report["refused_by_new"]["number"]) == (0, 0)
    made.rest()
    for _ in range(3):
        made.serve()
    made.rest()
    balanced = CliRunner(env=dict(made.services["issuer"].environ)).invoke(verify, ["--wait", "5"])
    assert balanced.exit_code == 0, balanced.output


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new", "mode"), QUICK)
def test_the_tills_refuse_nothing_more_while_the_operator_is_changed(
    town: Callable[[str, str], Town], old: str, new: str, mode: str
) -> None:
    play(town, "on_issue", old, new, mode)


@pytest.mark.hours
@pytest.mark.parametrize("spendable", TERMS)
@pytest.mark.parametrize(("old", "new", "mode"), PAIRS)
def test_the_tills_refuse_nothing_more_whoever_leaves_and_whoever_comes(
    town: Callable[[str, str], Town], spendable: str, old: str, new: str, mode: str
) -> None:
    play(town, spendable, old, new, mode)
