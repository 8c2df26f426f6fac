"""A town with a hundred cheques at an operator that can die, and workers that can be killed while they switch."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from demo.simulators.docaposte import Account, Simulator
from demo.simulators.serving import serving
from demo.stack.embedded import free_port
from services.operator_bridge.contracts import lifecycle
from services.operator_bridge.inbound import applying, statement_polling
from services.operator_bridge.switching import switchover
from shared.values import clock
from tests.operator_bridge.conftest import Office

BATCH_SIZE = 25  # rows a transaction: enough cheques for several parts of every movement


class Operator:
    """The first operator, which dies for good: nothing listens at its address any more. Tests may have it reborn."""

    def __init__(self) -> None:
        self.port, self.account = free_port(), Account.generate()
        self.life = ExitStack()
        self.fresh()

    def fresh(self) -> "Operator":
        """The operator as it was before all of it, with empty books."""
        self.die()
        self.simulator = Simulator(self.account, "http://127.0.0.1:9/nobody")
        self.life.enter_context(serving(self.simulator.app, self.port))
        return self

    def die(self) -> None:
        self.life.close()


class Killed(BaseException):
    """The worker was killed."""


@dataclass
class Killer:
    """Kills a worker when it is about to make its n-th commit: that is not made, and nothing after it is done."""

    engine: sa.Engine
    victim: int = -1
    commits: list[datetime] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        sa.event.listen(self.engine, "commit", self._strike)
        try:
            yield
        finally:
            sa.event.remove(self.engine, "commit", self._strike)

    def _strike(self, _: sa.Connection) -> None:
        self.commits.append(clock.now())
        if len(self.commits) == self.victim:
            raise Killed


@dataclass
class Town:
    """A hundred cheques with the first operator, in every state that a cheque and a redemption can be in."""

    office: Office
    operator: Operator
    old: UUID = field(init=False)
    new: UUID = field(init=False)
    open: list[UUID] = field(init=False)
    switch_id: UUID = field(init=False)

    def settle(self) -> "Town":
        office = self.office
        self.old, self.new = office.contract(code="old"), office.contract("regie", "draft", code="new")
        office.affiliate(self.old)
        paid, declared, spent, cancelled, blocked, self.open = (office.issue(n) for n in (5, 15, 4, 6, 5, 60))
        office.redeem(paid)
        office.push_all(self.old)
        self.operator.simulator.pay()
        statement_polling.poll(office.bridge.runtime, self.old)
        office.redeem(declared)
        line = self.operator.simulator.redeem_at_till(str(office.structure), office.codes[str(spent[0])])
        statement_polling.poll(office.bridge.runtime, self.old)
        office.redeem(spent[:1], "operator", self.old, applying.report_id("docaposte", line["reference"]))
        office.cancel(cancelled[:3])
        office.tell("cheques.blocked", {"cheque_ids": blocked, "reason": "lost"})
        office.push_all(self.old)
        return self

    def go_on(self, cancelled: int = 2) -> None:
        """What happens here after the old operator is told nothing any more."""
        self.office.redeem(self.open[:8])
        self.office.cancel(self.open[8 : 8 + cancelled])
        self.office.issue(10)

    def ask(self, mode: str, **more: Any) -> Any:
        body = {"from_contract_id": str(self.old), "to_contract_id": str(self.new), "mode": mode, **more}
        answer = self.office.post("/v1/switches", body)
        if answer.status_code == 201:
            self.switch_id = UUID(answer.json["switch_id"])
        return answer

    def advance(self, killer: Killer | None = None) -> bool:
        """Works as workers do, one after the other: takes the switch on, sends; whether it is done."""
        done = False
        with suppress(Killed), killer.watching() if killer else nullcontext():
            done = bool(switchover.advance(self.office.bridge.runtime, self.switch_id, BATCH_SIZE).finished_at)
        self.office.push(self.old, 0.1)
        self.office.push_all(self.new)
        return done

    def finish(self, killer: Killer | None = None) -> dict[str, Any]:
        for _ in range(20):
            if self.advance(killer):
                return self.watch()
        raise AssertionError(self.watch())

    def watch(self) -> dict[str, Any]:
        found: dict[str, Any] = self.office.get(f"/v1/switches/{self.switch_id}")
        return found

    def register(self) -> dict[str, Any]:
        """The whole register by count: what must be the same however often the switch was interrupted."""
        rows = self.office.rows
        links = rows("SELECT code, link.state, count(*) FROM link JOIN contract USING (contract_id) GROUP BY 1, 2")
        redemptions = rows(
            "SELECT code, r.state, count(*) FROM redemption r LEFT JOIN contract USING (contract_id) GROUP BY 1, 2"
        )
        orders = rows(
            "SELECT code, kind, o.state, count(*) FROM operator_order o JOIN contract USING (contract_id)"
            " GROUP BY 1, 2, 3"
        )
        claims = rows("SELECT kind, count(*) FROM claim GROUP BY 1")
        report = self.watch()["report"]
        return {
            "links": sorted(map(tuple, links)), "redemptions": sorted(map(tuple, redemptions)),
            "orders": sorted(map(tuple, orders)), "claims": sorted(map(tuple, claims)),
            "report": {name: value for name, value in report.items() if name != "seconds"},
        }  # fmt: skip


def failure(town: Town) -> None:
    town.operator.die()
    town.go_on()
    assert town.ask("failure").status_code == 201


def handover(town: Town) -> None:
    with town.office.bridge.runtime.transaction() as session:
        lifecycle.hold(session, town.old, "they announced it")
    town.go_on()
    assert town.ask("handover").status_code == 201


BEGIN = {"failure": failure, "handover": handover}
