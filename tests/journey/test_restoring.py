"""One service's database is put back to an earlier moment: what the others know brings it back, or it is named.

Whatever was restored, no cheque is spent twice.
"""

from collections.abc import Iterator, Mapping

import pytest
import sqlalchemy as sa

from demo.simulators.docaposte import Account, Simulator
from demo.stack.embedded import EmbeddedPostgres
from shared.settings.settings import SERVICES
from tests.journey.conftest import World
from tests.journey.restoring import Life, Town, live

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SPENT_SINCE = (0, 1, 2, 4, 6)


@pytest.fixture
def operator() -> Simulator:
    return Simulator(Account.generate(), "http://127.0.0.1:9/nobody")


@pytest.fixture
def operator_settings(operator: Simulator) -> Iterator[Mapping[str, str]]:
    with operator.running() as settings:
        yield settings


@pytest.fixture
def town(world: World, operator: Simulator, postgres: EmbeddedPostgres) -> Town:
    body = {"state": "draining"}
    world.ask("operator_bridge", "POST", f"/v1/contracts/{world.contract}/state", "admin", body)
    world.operator = "docaposte"
    contract = {"code": "docaposte-2026", "operator": "docaposte", "programme": "pass-numerique"}
    made = world.ask("operator_bridge", "POST", "/v1/contracts", "admin", contract | {"starts_on": "2026-01-01"})
    world.contract = made["contract_id"]
    world.ask("operator_bridge", "POST", f"/v1/contracts/{world.contract}/state", "admin", {"state": "live"})
    world.settle()
    affiliation = {"structure_id": str(world.structure), "contract_id": world.contract, "starts_on": "2026-01-01"}
    world.ask("redeemer", "POST", "/v1/affiliations", "admin", affiliation)
    world.settle()
    return Town(world, operator, postgres)


@pytest.fixture
def life(town: Town) -> Life:
    return live(town)


def test_a_restored_redeemer_hears_what_it_took_and_spends_no_cheque_again(town: Town, life: Life) -> None:
    before = standing(town)
    town.restore("redeemer")
    assert "recovered from the other services" in town.recall("redeemer")
    for index in SPENT_SINCE:
        assert town.refusal(life.kept[index]) == "already-redeemed"
    assert town.refusal(life.lost[0]) == "already-redeemed"
    assert town.refusal(life.kept[5]) == "cancelled"
    town.work()
    assert standing(town) == before
    verified = town.verify()
    assert verified.exit_code == 0, verified.output
    assert "the log of redeemer was restored" in verified.output
    assert town.differences() == 0
    town.redeem(life.kept[3], life.kept[7], life.lost[1])
    town.work()
    assert town.verify().exit_code == 0, town.verify().output
    assert town.differences() == 0
    assert town.spent() == []


def test_without_asking_the_others_a_restored_redeemer_would_spend_a_cheque_again(town: Town, life: Life) -> None:
    """What the test above holds is not so by itself."""
    town.restore("redeemer")
    assert town.world.present(life.kept[1]["code"]).status_code == 201


def test_a_restored_bridge_tells_the_operator_nothing_twice(town: Town, life: Life) -> None:
    before, books = standing(town), town.operator.register.state()
    town.restore("operator_bridge")
    town.recall("operator_bridge")
    town.work()
    assert standing(town) == before
    after = town.operator.register.state()
    assert (after["cheques"], after["paid"]) == (books["cheques"], books["paid"])
    with town.world.services["operator_bridge"].runtime.engine.connect() as connection:
        refused = connection.execute(sa.text("SELECT kind, reason FROM operator_order WHERE state = 'refused'")).all()
    assert refused == []
    verified = town.verify()
    assert verified.exit_code == 0, verified.output
    assert "the log of operator_bridge was restored" in verified.output
    assert town.differences() == 0
    town.redeem(life.kept[7], life.lost[1])
    town.work()
    assert town.verify().exit_code == 0, town.verify().output
    assert town.differences() == 0


def test_a_contract_that_a_restored_bridge_lost_is_a_draft_until_a_person_says_what_it_is(town: Town) -> None:
    town.work()
    town.back_up()
    contract = {"code": "regie-2027", "operator": "regie", "programme": "pass-numerique", "starts_on": "2027-01-01"}
    made = town.world.ask("operator_bridge", "POST", "/v1/contracts", "admin", contract)["contract_id"]
    for contract_id, state in ((made, "live"), (town.world.contract, "draining")):
        body = {"state": state}
        town.world.ask("operator_bridge", "POST", f"/v1/contracts/{contract_id}/state", "admin", body)
    town.work()
    town.restore("operator_bridge")
    town.recall("operator_bridge")
    town.work()
    found = town.world.ask("operator_bridge", "GET", "/v1/contracts", "admin")["items"]
    states = {each["code"]: (each["state"], each["held_reason"]) for each in found}
    assert states["regie-2027"][0] == "draft"
    assert states["docaposte-2026"] == ("live", "restored: it was draining before, and is now held")
    assert "contract regie-2027" in town.verify().output or "contract docaposte-2026" in town.verify().output


def test_a_restored_issuer_goes_on_and_all_that_it_lost_is_named(town: Town, life: Life) -> None:
    town.restore("issuer")
    town.recall("issuer")
    town.work()
    verified = town.verify()
    assert verified.exit_code == 1
    assert "the log of issuer was restored" in verified.output
    assert f"{len(life.lost)} differences" in verified.output
    for cheque in life.lost:
        assert f"cheque {cheque['cheque_id']} is unknown to the issuer: it is of grant" in verified.output
    assert town.refusal(life.lost[0]) == "already-redeemed"
    town.redeem(life.kept[7], life.lost[1])  # what people hold is still taken
    fresh = town.grant()
    town.redeem(fresh[0])
    town.work()
    assert f"{len(life.lost)} differences" in town.verify().output
    assert town.differences() == 0


def test_all_three_restored_to_one_moment_agree_and_the_operator_tells_the_rest(town: Town, life: Life) -> None:
    for service in SERVICES:
        town.restore(service)
    for service in ("issuer", "operator_bridge", "redeemer"):
        town.recall(service)
    town.work()
    verified = town.verify()
    assert verified.exit_code == 0, verified.output
    assert "was restored" not in verified.output  # no reader remembers more than is there
    assert town.differences() > 0  # what the operator was told, and we have forgotten
    assert town.refusal(life.kept[4]) == "already-redeemed"  # the operator's till had it, and its statement says so


def standing(town: Town) -> list[tuple[str, ...]]:
    """How each cheque and each redemption stands with each of the three."""
    queries = (
        "SELECT 'issuer', id::text, state, '' FROM issuer.cheque",
        "SELECT 'redeemer', id::text, state, '' FROM redeemer.cheque",
        "SELECT 'bridge', cheque_id::text, state, blocked::text FROM operator_bridge.cheque",
        "SELECT 'link', cheque_id::text, state, contract_id::text FROM operator_bridge.link",
        """SELECT 'redemption', id::text, state, concat_ws(' ', reversed_at IS NULL, amount_cents, via, contract_id,
               given_on, payment_reference) FROM redeemer.redemption""",
        "SELECT 'declared', redemption_id::text, state, reference FROM operator_bridge.redemption",
        "SELECT 'known', id::text, concat_ws(' ', redeemed_on, paid_on), '' FROM issuer.redemption",
    )
    with sa.create_engine(town.postgres.url()).connect() as connection:
        found = connection.execute(sa.text(" UNION ALL ".join(queries))).all()
    return sorted(tuple(map(str, row)) for row in found)
