"""`souche operator`: drafting a contract, sending again what is stuck, giving a contract what nobody has."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from souche.cli import main
from tests.harness import ServiceUnderTest
from tests.serving import served

DRAFT = ("draft", "regie-2026", "--operator", "regie", "--programme", "pass-numerique", "--starts-on", "2026-01-01")


@pytest.fixture
def answering(bridge: ServiceUnderTest) -> Iterator[ServiceUnderTest]:
    """The bridge behind a real socket."""
    with served(bridge.app, bridge.environ["OPERATOR_BRIDGE_URL"]):
        yield bridge


def operator(bridge: ServiceUnderTest, *arguments: str) -> Result:
    return CliRunner().invoke(main, ("operator", *arguments), env=dict(bridge.environ) | {"SOUCHE_TOKEN": None})


def test_a_contract_is_drafted_and_no_second_of_its_code(answering: ServiceUnderTest) -> None:
    assert operator(answering, *DRAFT).output.startswith("regie-2026 is draft: ")
    again = operator(answering, *DRAFT)
    assert again.exit_code == 1
    assert "There is a contract of this code already." in again.output


def test_a_contract_that_works_takes_what_nobody_has(answering: ServiceUnderTest) -> None:
    operator(answering, *DRAFT)
    refused = operator(answering, "adopt", "regie-2026")
    assert "A contract that is draft takes no cheques." in refused.output
    operator(answering, "state", "regie-2026", "live")
    assert operator(answering, "adopt", "regie-2026").output == "0 cheques are regie-2026's now\n"


def test_what_is_stuck_is_listed_and_sent_again_with_a_note(answering: ServiceUnderTest) -> None:
    assert operator(answering, "orders", "--stuck").output.startswith("order_id")
    assert operator(answering, "retry", "--all-stuck", "--note", "mended").output == "0 orders are sent again\n"
    missing = operator(answering, "retry", "0190b4a2-0000-7000-8000-000000000000", "--note", "mended")
    assert missing.exit_code == 1
    assert "There is no such order." in missing.output
    assert operator(answering, "retry", "--note", "which?").exit_code == 2


def test_a_persons_word_settles_nothing_that_is_not_there(answering: ServiceUnderTest) -> None:
    missing = operator(answering, "settle", "0190b4a2-0000-7000-8000-000000000000", "--done", "--note", "by telephone")
    assert missing.exit_code == 1
    assert "There is no such order." in missing.output
