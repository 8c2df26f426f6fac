"""Two switches in a row, of all three services at work: nobody at a till notices."""

from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.orders import sending
from services.operator_bridge.reconciliation import comparing
from services.operator_bridge.switching import switchover
from shared.settings.settings import SERVICES
from souche.commands.verify import verify
from tests.journey.conftest import World
from tests.operator_bridge.switching.conftest import operator, operator_settings
from tests.operator_bridge.switching.town import Operator

__all__ = ["operator", "operator_settings"]


class Town:
    """A world whose structure never stops presenting cheques, and whose prescriber never stops granting them."""

    def __init__(self, world: World) -> None:
        self.world, self.bridge = world, world.services["operator_bridge"].runtime
        self.in_hand: list[str] = []
        self.presented: list[int] = []

    def grant(self, cheques: int) -> None:
        for _ in range(cheques // 5):
            self.in_hand += [cheque["code"] for cheque in self.world.grant()["cheques"]]

    def present(self, number: int = 2) -> None:
        codes, self.in_hand = self.in_hand[:number], self.in_hand[number:]
        self.presented.append(self.world.present(*codes).status_code)

    def contract(self, operator: str, code: str) -> UUID:
        body = {"code": code, "operator": operator, "programme": "pass-numerique", "starts_on": "2026-01-01"}
        made = self.world.ask("operator_bridge", "POST", "/v1/contracts", "admin", body)
        return UUID(made["contract_id"])

    def work(self) -> None:
        """Carries the news and sends what is due, as the workers do."""
        self.world.settle()
        for contract in self.world.ask("operator_bridge", "GET", "/v1/contracts", "admin")["items"]:
            sending.push(self.bridge, UUID(contract["contract_id"]), 0.3)
        self.world.settle()

    def switch(self, old: UUID, new: UUID, mode: str) -> dict[str, Any]:
        """Switches, with the town going on between any two looks of the worker."""
        body = {"from_contract_id": str(old), "to_contract_id": str(new), "mode": mode}
        switch = self.world.ask("operator_bridge", "POST", "/v1/switches", "operations", body)
        for _ in range(20):
            done = switchover.advance(self.bridge, UUID(switch["switch_id"]), 20)
            self.present()
            self.grant(5)
            self.work()
            self.present(1)
            if done.finished_at:
                path = f"/v1/switches/{switch['switch_id']}"
                found: dict[str, Any] = self.world.ask("operator_bridge", "GET", path, "finance")
                return found
        raise AssertionError(done.waiting_for)

    def balanced(self) -> None:
        self.work()
        self.work()
        result = CliRunner(env=dict(self.world.services["issuer"].environ)).invoke(verify, ["--wait", "0"])
        assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_an_operator_takes_over_and_dies_and_no_till_refuses_a_cheque(world: World, operator: Operator) -> None:
    town = Town(world)
    assert set(world.services) == set(SERVICES)
    town.grant(100)
    town.work()
    town.present(4)

    first = town.contract("docaposte", "first")
    handed_over = town.switch(world.contract, first, "handover")
    assert handed_over["report"]["differences"] == 0
    assert handed_over["report"]["moved"]["number"] >= 90
    town.balanced()
    assert comparing.compare(town.bridge, first).count == 0
    held = operator.simulator.register
    assert len(held.structures) == 1  # the structure that was affiliated to the first contract alone

    town.present(5)
    town.work()
    operator.simulator.pay()
    statement_polling.poll(town.bridge, first)
    town.present(5)
    town.work()
    operator.die()
    town.present(3)
    town.work()
    last = town.contract("regie", "last")
    failed = town.switch(first, last, "failure")
    assert failed["report"]["differences"] == 0
    assert failed["report"]["claimed"]["number"] >= 60
    town.balanced()
    redemptions = world.ask("redeemer", "GET", "/v1/redemptions?limit=500", "finance")["items"]
    assert {(each["state"], each["contract_id"]) for each in redemptions if each["state"] != "paid"} <= {
        ("confirmed", str(world.contract)), ("confirmed", str(last))
    }  # fmt: skip

    assert set(town.presented) == {201}
    affiliations = world.ask("redeemer", "GET", "/v1/affiliations", "admin")["items"]
    assert {each["contract_id"] for each in affiliations} == {str(world.contract), str(first), str(last)}
