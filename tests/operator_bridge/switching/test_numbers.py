"""Switching between an operator that gives cheques numbers of its own and one that takes our codes, both ways."""

from collections.abc import Iterator, Mapping
from uuid import UUID

import pytest

from demo.simulators import govstack
from services.operator_bridge.reconciliation import comparing
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.switching.town import Operator, Town

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def giver() -> Iterator[dict[str, str]]:
    """The settings of an operator that gives its own numbers."""
    with govstack.Simulator(govstack.Account.generate()).running() as settings:
        yield settings


@pytest.fixture
def operator_settings(operator: Operator, giver: dict[str, str]) -> Mapping[str, str]:
    settings = operator.account.settings(f"http://127.0.0.1:{operator.port}")
    return settings | giver | {"OPERATOR_DOCAPOSTE_TIMEOUT_SECONDS": "1"}


def numbers(office: Office, contract: UUID) -> set[bool]:
    rows = office.rows(
        "SELECT number FROM link WHERE contract_id = :contract AND state = 'registered'", contract=contract
    )
    return {row.number is not None for row in rows}


def test_cheques_move_to_an_operator_that_gives_numbers(town: Town) -> None:
    town.new = town.office.contract(govstack.CODE, "draft", code="giver")
    town.operator.die()
    assert town.ask("failure").status_code == 201
    report = town.finish()["report"]
    assert (report["differences"], report["refused_by_new"]["number"]) == (0, 0)
    assert numbers(town.office, town.new) == {True}
    assert comparing.compare(town.office.bridge.runtime, town.new).count == 0


@pytest.mark.slow
def test_cheques_move_from_an_operator_that_gives_numbers(office: Office, operator: Operator) -> None:
    town = Town(office, operator)
    town.old, town.new = office.contract(govstack.CODE, code="giver"), office.contract(state="draft", code="taker")
    office.affiliate(town.old)
    town.open = office.issue(60)
    office.push_all(town.old)
    office.redeem(town.open[:5])
    office.push_all(town.old)
    office.redeem(town.open[5:9])
    assert town.ask("handover").status_code == 201
    report = town.finish()["report"]
    office.push_all(town.old)
    assert report["differences"] == 0
    assert (report["moved"]["number"], report["declared_again"]["number"]) == (51, 4)
    assert report["left_to_pay"]["number"] == 5
    assert numbers(office, town.new) == {False}
    held = [cheque.status for cheque in operator.simulator.register.cheques.values()]
    assert (held.count("registered"), held.count("redeemed")) == (51, 4)
