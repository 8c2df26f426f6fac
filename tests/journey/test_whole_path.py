"""A cheque from its grant to its end, through all three services over HTTP."""

import subprocess
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from demo.stack.embedded import EmbeddedPostgres
from shared.settings.settings import SERVICES
from shared.values import cheque_code
from souche.commands.verify import verify
from tests.journey.conftest import World


def states(owner: sa.Engine, cheque_id: str) -> dict[str, str]:
    """What each of the three says of a cheque."""
    queries = {
        "issuer": "SELECT state FROM issuer.cheque WHERE id = :id",
        "redeemer": "SELECT state FROM redeemer.cheque WHERE id = :id",
        "link": "SELECT state FROM operator_bridge.link WHERE cheque_id = :id",
        "redemption": "SELECT state FROM redeemer.redemption WHERE cheque_id = :id AND reversed_at IS NULL",
    }
    with owner.connect() as connection:
        found = {
            name: connection.execute(sa.text(query), {"id": cheque_id}).scalar() for name, query in queries.items()
        }
    return {name: str(state) for name, state in found.items() if state}


def assert_balanced(world: World) -> None:
    result = CliRunner(env=dict(world.services["issuer"].environ)).invoke(verify, ["--wait", "0"])
    assert result.exit_code == 0, result.output


def test_a_cheque_is_granted_registered_spent_and_declared(world: World, owner: sa.Engine) -> None:
    cheque = world.grant()["cheques"][0]
    world.settle()
    assert states(owner, cheque["cheque_id"]) == {"issuer": "spendable", "redeemer": "spendable", "link": "registered"}
    paid = world.present(cheque["code"]).get_json()
    assert paid["total_cents"] == 1000
    world.settle()
    assert states(owner, cheque["cheque_id"]) == {
        "issuer": "redeemed", "redeemer": "redeemed", "link": "registered", "redemption": "confirmed"
    }  # fmt: skip
    assert_balanced(world)


def test_a_cheque_whose_redemption_was_taken_back_can_be_spent_again(world: World, owner: sa.Engine) -> None:
    cheque = world.grant()["cheques"][0]
    world.settle()
    first = world.present(cheque["code"]).get_json()["redemptions"][0]["redemption_id"]
    path = f"/v1/redemptions/{first}/reversal"
    world.ask("redeemer", "POST", path, "structure", {"reason": "wrong person"}, scope=world.structure)
    world.settle()
    assert states(owner, cheque["cheque_id"])["issuer"] == "spendable"
    assert world.present(cheque["code"]).status_code == 201
    world.settle()
    assert states(owner, cheque["cheque_id"])["issuer"] == "redeemed"
    assert_balanced(world)


def cancel(world: World, *cheques: dict[str, Any]) -> None:
    body = {"cheque_ids": [cheque["cheque_id"] for cheque in cheques], "reason": "returned"}
    world.ask("issuer", "POST", "/v1/cancellations", "prescriber", body, scope=world.prescriber)


def test_a_cancellation_that_comes_after_the_till_leaves_the_cheque_spent(world: World, owner: sa.Engine) -> None:
    spent, kept = world.grant()["cheques"][:2]
    world.settle()
    cancel(world, spent, kept)
    assert world.present(spent["code"]).status_code == 201  # the request has not reached the redeemer yet
    world.settle()
    assert states(owner, spent["cheque_id"])["issuer"] == "redeemed"
    assert states(owner, kept["cheque_id"])["issuer"] == "cancelled"
    assert world.present(kept["code"]).get_json()["refusals"][0]["reason"] == "cancelled"
    assert_balanced(world)


def test_a_cancelled_cheque_gives_its_money_back_to_its_envelope(world: World) -> None:
    granted = world.grant(1_000_000)
    envelopes = world.ask("issuer", "GET", "/v1/envelopes", "finance")["items"]
    assert envelopes[0]["available_cents"] == 0
    world.settle()
    cancel(world, *granted["cheques"][:5])
    world.settle()
    assert world.ask("issuer", "GET", "/v1/envelopes", "finance")["items"][0]["available_cents"] == 5000
    assert len(world.grant(5000)["cheques"]) == 5
    world.settle()
    assert_balanced(world)


def test_granting_and_redeeming_go_on_while_the_others_do_not_hear_of_it(world: World) -> None:
    first = world.grant()["cheques"]
    world.settle()
    assert [world.present(cheque["code"]).status_code for cheque in first] == [201] * 5
    second = world.grant()["cheques"]
    world.settle()
    assert world.present(second[0]["code"]).status_code == 201
    world.settle()
    assert_balanced(world)


@pytest.mark.parametrize("schema", ["redeemer", "operator_bridge", "issuer"])
def test_no_code_stands_anywhere_in_a_dump(schema: str, world: World, postgres: EmbeddedPostgres) -> None:
    cheques = world.grant()["cheques"]
    world.settle()
    world.present(*(cheque["code"] for cheque in cheques[:2]))
    world.present(cheques[0]["code"], "0000-0000-0000-0000-0")
    world.settle()
    command = [str(postgres.bin / "pg_dump"), "-h", str(postgres.directory), "-U", "souche", "-n", schema, "souche"]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert cheques[0]["cheque_id"] in dump
    for cheque in cheques:
        assert cheque["code"] not in dump
        assert cheque_code.normalise(cheque["code"]) not in dump


def test_news_read_again_from_the_start_changes_nothing(world: World, owner: sa.Engine) -> None:
    cheques = world.grant()["cheques"]
    world.settle()
    world.present(cheques[0]["code"])
    cancel(world, cheques[1])
    world.settle()
    tables = [f"{schema}.{name}" for schema, name in rows_of(owner)]
    before = contents(owner, tables)
    for service in SERVICES:
        with world.services[service].runtime.transaction() as session:
            session.execute(sa.text("UPDATE cursor SET position = 0"))
    world.settle()
    assert contents(owner, tables) == before


def rows_of(owner: sa.Engine) -> list[tuple[str, str]]:
    query = sa.text("""
        SELECT schemaname, tablename FROM pg_tables
        WHERE schemaname = ANY(:schemas) AND tablename <> 'alembic_version' ORDER BY 1, 2
    """)
    with owner.connect() as connection:
        return [(row.schemaname, row.tablename) for row in connection.execute(query, {"schemas": list(SERVICES)})]


def contents(owner: sa.Engine, tables: list[str]) -> dict[str, list[str]]:
    with owner.connect() as connection:
        return {
            table: sorted(connection.execute(sa.text(f"SELECT row::text FROM {table} AS row")).scalars())
            for table in tables
        }


def test_another_structure_cannot_see_or_take_back_a_redemption(world: World) -> None:
    cheque = world.grant()["cheques"][0]
    world.settle()
    redemption = world.present(cheque["code"]).get_json()["redemptions"][0]["redemption_id"]
    stranger = UUID(int=world.structure.int ^ 1)
    assert (
        world.call("redeemer", "GET", f"/v1/redemptions/{redemption}", "structure", scope=stranger).status_code == 404
    )
    path, reason = f"/v1/redemptions/{redemption}/reversal", {"reason": "mine"}
    assert world.call("redeemer", "POST", path, "structure", reason, scope=stranger).status_code == 404
    assert world.present(cheque["code"]).get_json()["refusals"][0]["reason"] == "already-redeemed"
