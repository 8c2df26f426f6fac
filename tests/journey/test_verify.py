"""`souche verify` finds a planted fault of each kind and names it; without one it says that every cheque fits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from souche.commands.verify import verify
from tests.journey.conftest import World

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Fault:
    """What is done behind the services' backs, by `schema`'s owner, and what must be said of it."""

    schema: str
    sql: str
    said: str


# The cheques are taken in the order of their ids, so the first of the grant is the first to be named.
FIRST = "(SELECT id FROM issuer.cheque ORDER BY id LIMIT 1)"
REDEEMED = "(SELECT cheque_id FROM redeemer.redemption WHERE reversed_at IS NULL ORDER BY id LIMIT 1)"
FAULTS = {
    "a cheque that the redeemer lacks": Fault(
        "redeemer", f"DELETE FROM cheque WHERE id = {FIRST}", "is unknown to the redeemer"
    ),
    "a cheque that the issuer never issued": Fault(
        "redeemer",
        f"""INSERT INTO cheque (id, digest, rules_id, grant_id, value_cents, granted_on, valid_until, presentable_until,
                                active)
            SELECT gen_random_uuid(), sha256('x'), rules_id, grant_id, value_cents, granted_on, valid_until,
                   presentable_until, active
            FROM cheque WHERE id = {FIRST}""",
        "is unknown to the issuer",
    ),
    "a cheque that the bridge lacks": Fault(
        "operator_bridge",
        f"""WITH gone AS (DELETE FROM link WHERE cheque_id = {FIRST})
            DELETE FROM cheque WHERE cheque_id = {FIRST}""",
        "is unknown to the operator bridge",
    ),
    "a cheque of another value": Fault(
        "redeemer", f"UPDATE cheque SET value_cents = 2000 WHERE id = {FIRST}", "is worth 1000, 2000 and 1000 cents"
    ),
    "a mirror that is wrong at the issuer": Fault(
        "issuer",
        f"UPDATE cheque SET ending = 'redeemed' WHERE id = {FIRST}",
        "is spendable to the redeemer and redeemed to the issuer",
    ),
    "a mirror that is wrong at the bridge": Fault(
        "operator_bridge",
        f"UPDATE cheque SET state = 'expired' WHERE cheque_id = {FIRST}",
        "is spendable to the redeemer and expired to the operator bridge",
    ),
    "a cheque that is spent and owed to nobody": Fault(
        "redeemer", f"DELETE FROM redemption WHERE cheque_id = {REDEEMED}", "is redeemed and has 0 redemptions"
    ),
    "a redemption of another amount": Fault(
        "redeemer",
        f"UPDATE redemption SET amount_cents = 999 WHERE cheque_id = {REDEEMED}",
        "is redeemed and has 1 redemptions of 999 cents",
    ),
    "a redemption that the bridge lacks": Fault(
        "operator_bridge",
        f"DELETE FROM redemption WHERE cheque_id = {REDEEMED}",
        "is redeemed and the operator bridge has 0 redemptions",
    ),
    "a redemption that is declared for another amount": Fault(
        "operator_bridge",
        f"UPDATE redemption SET amount_cents = 1 WHERE cheque_id = {REDEEMED}",
        "amount_cents is 1000 to the redeemer and 1 to the operator bridge",
    ),
    "a redemption that is paid to one and not to the other": Fault(
        "redeemer",
        f"UPDATE redemption SET state = 'paid' WHERE cheque_id = {REDEEMED}",
        "state is paid to the redeemer and confirmed to the operator bridge",
    ),
    "a redemption that nobody pays": Fault(
        "operator_bridge",
        f"""UPDATE redemption SET state = 'due', contract_id = NULL WHERE cheque_id = {REDEEMED};
            UPDATE redeemer.redemption SET state = 'due' WHERE cheque_id = {REDEEMED}""",
        "is due and was declared to no operator",
    ),
    "a redemption that was never declared": Fault(
        "operator_bridge",
        f"""UPDATE operator_order SET state = 'refused', reason = 'cheque-not-registered'
            WHERE order_id = (SELECT reference::uuid FROM redemption WHERE cheque_id = {REDEEMED});
            UPDATE redemption SET state = 'refused' WHERE cheque_id = {REDEEMED};
            UPDATE redeemer.redemption SET state = 'refused' WHERE cheque_id = {REDEEMED}""",
        "was not declared, as the operator refused its cheque, and nobody pays it",
    ),
    "a cheque of another programme": Fault(
        "redeemer",
        "UPDATE spending_rules SET programme = 'other'",
        "is of pass-numerique, other and pass-numerique",
    ),
    "a cheque that no operator was told of": Fault(
        "operator_bridge", f"DELETE FROM link WHERE cheque_id = {FIRST}", "links it with no contract"
    ),
    "an event that waits for a cheque for ever": Fault(
        "operator_bridge",
        """INSERT INTO parked_event (cheque_id, event_id, position, kind, key, occurred_at, body)
           VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'cheques.expired', 'k', now(), '{}')""",
        "operator_bridge has 1 events parked",
    ),
    "a redemption that is declared for another structure": Fault(
        "operator_bridge",
        f"UPDATE redemption SET structure_id = gen_random_uuid() WHERE cheque_id = {REDEEMED}",
        "structure_id is",
    ),
    "a reversal that the bridge did not hear of": Fault(
        "operator_bridge",
        "UPDATE redemption SET state = 'due' WHERE state = 'reversed'",
        "the operator bridge has 1 redemptions",
    ),
    "an envelope that says too much": Fault(
        "issuer",
        "UPDATE envelope SET engaged_cents = engaged_cents + 1",
        "envelope ETAT-2026: 4001 cents engaged, 4000",
    ),
    "an envelope that says too little": Fault(
        "issuer", "UPDATE envelope SET engaged_cents = 0", "envelope ETAT-2026: 0 cents engaged, 4000"
    ),
    "a grant that is not the sum of its cheques": Fault(
        "issuer", "UPDATE cheque_grant SET amount_cents = 6000", "is of 6000 cents and its cheques of 5000"
    ),
    "a new cheque for an old one that can still be spent": Fault(
        "issuer",
        f"""INSERT INTO replaced_cheque
            SELECT gen_random_uuid(), {FIRST}, (SELECT id FROM cheque ORDER BY id DESC LIMIT 1), '', '', now()""",
        "which replaces it, are not of one grant, envelope and value, the old one cancelled",
    ),
    "a use that was not booked": Fault(
        "issuer",
        "DELETE FROM journal_entry WHERE kind = 'used'",
        "envelope ETAT-2026: -1 cheques of -1000 cents are booked as used, 2 of 2000 are",
    ),
    "a cancellation that was booked twice": Fault(
        "issuer",
        """INSERT INTO journal_entry (booked_on, occurred_on, kind, envelope_id, number, cents)
           SELECT booked_on, occurred_on, kind, envelope_id, number, cents
           FROM journal_entry WHERE kind = 'cancelled'""",
        "envelope ETAT-2026: 2 cheques of 2000 cents are booked as cancelled, 1 of 1000 are",
    ),
    "a charge of other cheques than there are": Fault(
        "issuer", "UPDATE charge SET number = 4", "4 cheques of 5000 cents are charged, 5 of 5000 are there"
    ),
    "money engaged for a public that there is none for": Fault(
        "issuer",
        "UPDATE envelope SET engaged_reserved_cents = 1000",
        "envelope ETAT-2026: 1000 cents engaged for reserved publics, 0 charged",
    ),
    "an envelope that was raised in silence": Fault(
        "issuer",
        "UPDATE envelope SET amount_cents = 1000001",
        "envelope ETAT-2026: 1000001 cents in all, 1000000 by its movements",
    ),
    "a convention that was amended in silence": Fault(
        "issuer",
        "UPDATE convention SET amount_cents = 2000000",
        "convention ETAT-2026: 2000000 cents, none by its amendments",
    ),
    "a convention whose envelopes hold too much": Fault(
        "issuer",
        """UPDATE convention SET amount_cents = 999999;
           UPDATE convention_amendment SET amount_cents = 999999""",
        "convention ETAT-2026: 999999 cents granted, 1000000 in its envelopes",
    ),
    "news that nobody reads": Fault(
        "redeemer",
        "UPDATE cursor SET position = position - 1 WHERE publisher = 'issuer'",
        "redeemer has 1 events of issuer",
    ),
}
TWICE = Fault(
    "redeemer",
    f"""INSERT INTO redemption SELECT (jsonb_populate_record(redemption, jsonb_build_object('id', gen_random_uuid()))).*
        FROM redemption WHERE cheque_id = {REDEEMED}""",
    "is redeemed and has 2 redemptions of 2000 cents",
)


@pytest.fixture
def used(world: World) -> World:
    """Five cheques: two redeemed, one redeemed and taken back, one cancelled, one untouched (the first)."""
    granted = world.grant()
    world.settle()
    codes = [cheque["code"] for cheque in granted["cheques"]]
    assert world.present(codes[1], codes[2]).status_code == 201
    taken_back = world.present(codes[3]).get_json()["redemptions"][0]["redemption_id"]
    path = f"/v1/redemptions/{taken_back}/reversal"
    world.ask("redeemer", "POST", path, "structure", {"reason": "mistake"}, scope=world.structure)
    cancelled = {"cheque_ids": [granted["cheques"][4]["cheque_id"]], "reason": "returned"}
    world.ask("issuer", "POST", "/v1/cancellations", "prescriber", cancelled, scope=world.prescriber)
    world.settle()
    return world


@pytest.fixture
def second_wall_down(owner: sa.Engine) -> Iterator[None]:
    """Without the index that allows a cheque one redemption, as if the first wall had a hole too."""
    look = sa.text(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'redeemer' AND indexname = 'redemption_live_idx'"
    )
    with owner.begin() as connection:
        definition = connection.execute(look).scalar_one()
        connection.exec_driver_sql("DROP INDEX redeemer.redemption_live_idx")
    yield
    with owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE redeemer.redemption CASCADE")
        connection.exec_driver_sql(definition)


def plant(fault: Fault, owner: sa.Engine) -> None:
    with sa.create_engine(owner.url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("SET session_replication_role = replica")  # foreign keys look away
        connection.exec_driver_sql(f"SET search_path = {fault.schema}")
        connection.exec_driver_sql(fault.sql)


def run_verify(world: World) -> Result:
    return CliRunner(env=dict(world.services["issuer"].environ)).invoke(verify, ["--wait", "0"])


def test_books_without_a_fault_balance_and_are_shown(used: World) -> None:
    result = run_verify(used)
    assert result.exit_code == 0, result.output
    assert "5 cheques: every one fits." in result.output
    for kind, name in (("programme", "pass-numerique"), ("envelope", "ETAT-2026"), ("contract", "regie-2026")):
        line = next(line for line in result.output.splitlines() if line.startswith(kind))
        assert name in line
        assert "5 / 50.00 €" in line
        assert "2 / 20.00 €" in line
        assert line.count("1 / 10.00 €") == 1


def _every_fifth(names: Iterable[str]) -> list[Any]:
    """All of them, of which every fifth is tried by make test and the others by make test-slow."""
    return [pytest.param(name, marks=pytest.mark.slow if number % 5 else ()) for number, name in enumerate(names)]


@pytest.mark.parametrize("kind", _every_fifth(FAULTS))
def test_a_planted_fault_is_named(kind: str, used: World, owner: sa.Engine) -> None:
    plant(FAULTS[kind], owner)
    result = run_verify(used)
    assert result.exit_code == 1
    assert FAULTS[kind].said in result.output


@pytest.mark.usefixtures("second_wall_down")
def test_a_cheque_that_is_owed_twice_is_named(used: World, owner: sa.Engine) -> None:
    plant(TWICE, owner)
    result = run_verify(used)
    assert result.exit_code == 1
    assert TWICE.said in result.output
