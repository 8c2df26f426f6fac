"""`souche operator` against the bridge over HTTP."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from souche.cli import main
from tests.harness import ServiceUnderTest
from tests.serving import served

CONTRACT = {"code": "regie-2026", "operator": "regie", "programme": "pass-numerique", "starts_on": "2026-01-01"}


@pytest.fixture
def answering(bridge: ServiceUnderTest) -> Iterator[ServiceUnderTest]:
    """The bridge behind a real socket, with one contract that was just drafted."""
    headers = bridge.headers("operations")
    assert bridge.client.post("/v1/contracts", json=CONTRACT, headers=headers).status_code == 201
    with served(bridge.app, bridge.environ["OPERATOR_BRIDGE_URL"]):
        yield bridge


def operator(bridge: ServiceUnderTest, *arguments: str) -> Result:
    return CliRunner().invoke(main, ("operator", *arguments), env=dict(bridge.environ) | {"SOUCHE_TOKEN": None})


def test_it_lists_the_operators_and_says_which_are_configured(answering: ServiceUnderTest) -> None:
    result = operator(answering, "list")
    assert result.exit_code == 0
    [line] = [line for line in result.output.splitlines() if line.startswith("regie")]
    assert "yes" in line


def test_it_lists_contracts_and_takes_one_to_another_state(answering: ServiceUnderTest) -> None:
    assert "draft" in operator(answering, "contracts").output
    assert operator(answering, "state", "regie-2026", "live").output == "regie-2026 is live\n"
    assert "live" in operator(answering, "contracts").output


def test_a_state_that_may_not_follow_is_refused_in_the_services_words(answering: ServiceUnderTest) -> None:
    result = operator(answering, "state", "regie-2026", "ended")
    assert result.exit_code == 1
    assert "A contract that is draft cannot become ended." in result.output


def test_it_lists_orders_by_state(answering: ServiceUnderTest) -> None:
    result = operator(answering, "orders", "--state", "refused")
    assert result.exit_code == 0
    assert result.output.startswith("order_id")


def test_a_comparison_without_differences_ends_well(answering: ServiceUnderTest) -> None:
    operator(answering, "state", "regie-2026", "live")
    result = operator(answering, "compare", "regie-2026")
    assert result.exit_code == 0
    assert "0 cheques differ" in result.output


@pytest.mark.parametrize("command", ["poll", "compare"])
def test_a_contract_that_is_not_there_is_named(answering: ServiceUnderTest, command: str) -> None:
    result = operator(answering, command, "nowhere")
    assert result.exit_code == 1
    assert "There is no contract nowhere" in result.output
