"""Switching operator: both modes, whatever is interrupted, with nothing lost, nothing twice and nothing rewritten."""

import signal
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.operator_bridge.inbound import applying
from services.operator_bridge.interface import Paid
from services.operator_bridge.reconciliation import comparing
from services.operator_bridge.switching import switchover
from services.operator_bridge.switching.steps import STEPS
from shared.values import clock
from tests.harness import ServiceUnderTest, empty_tables
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.switching.town import BEGIN, Killer, Operator, Town, failure, handover

ROOT = Path(__file__).parents[3]


def test_a_dead_operator_loses_nothing(town: Town) -> None:
    failure(town)
    report = town.finish()["report"]
    assert report["differences"] == 0
    assert report["found"]["spendable"] == {"number": 65 + 3 + 3 - 10 + 10, "cents": 71_000}
    assert report["moved"] == {"number": 71, "cents": 71_000}
    assert report["declared_again"] == {"number": 15 + 1 + 8, "cents": 24_000}
    assert report["left_to_pay"]["number"] == 0
    found = town.register()
    assert found["links"] == [("new", "registered", 95), ("old", "closed", 8), ("old", "stranded", 87 + 10)]
    assert dict(found["claims"]) == {"unspent": 5 + 3 + 3 + 52, "declared": 16, "undeclared": 8}
    assert report["claimed"] == {"number": 87, "cents": 87_000}
    assert [state for code, state, _ in found["redemptions"] if code == "new"] == ["confirmed"]


def test_a_handover_leaves_the_old_operator_what_it_accepted_and_nothing_else(town: Town) -> None:
    handover(town)
    report = town.finish()["report"]
    assert report["differences"] == 0
    assert report["moved"] == {"number": 71, "cents": 71_000}
    assert report["declared_again"] == {"number": 8, "cents": 8_000}
    assert report["left_to_pay"] == {"number": 16, "cents": 16_000}
    assert report["claimed"] is None
    town.office.push_all(town.old)
    assert comparing.compare(town.office.bridge.runtime, town.old).count == 0
    held = {cheque.status for cheque in town.operator.simulator.register.cheques.values()}
    assert held == {"redeemed", "cancelled"}  # its own till takes none of them any more
    assert town.watch()["steps"][-1]["step"] == "cut_over"


def boundaries(town: Town, killer: Killer) -> list[int]:
    """Where to kill: as each step is recorded, at once after, and in its middle; by the commits of a whole run."""
    ends = [datetime.fromisoformat(step["finished_at"]) for step in town.watch()["steps"]]
    recorded = [next(n for n, at in enumerate(killer.commits, 1) if at >= end) for end in ends]
    middles = [(first + last + 1) // 2 for first, last in pairwise([0, *recorded])]
    return sorted({*recorded, *middles, *(n + 1 for n in recorded[:-1])})


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["failure", "handover"])
def test_a_worker_killed_anywhere_changes_nothing_of_the_result(
    mode: str, bridge: ServiceUnderTest, codes: dict[str, str], owner: sa.Engine, operator: Operator
) -> None:
    def run(victim: int = -1) -> tuple[Town, Killer]:
        empty_tables(owner, "operator_bridge")
        killer = Killer(bridge.runtime.engine, victim)
        town = Town(Office(bridge, codes), operator.fresh()).settle()
        BEGIN[mode](town)
        town.finish(killer)
        return town, killer

    undisturbed, watcher = run()
    expected, places = undisturbed.register(), boundaries(undisturbed, watcher)
    assert len(places) > 2 * len(STEPS)
    for place in places:
        killed, killer = run(place)
        assert len(killer.commits) > place, "nobody was killed"
        assert killed.register() == expected, f"killed at commit {place}"


# A worker in a process of its own, that kills itself when it is about to make its n-th commit.
WORKER = """
import os, signal, sys
from itertools import count
from uuid import UUID
import sqlalchemy as sa
from services.operator_bridge.switching import switchover
from shared.settings.settings import load
from shared.process.runtime import Runtime

runtime, commits = Runtime(load("operator_bridge")), count(1)
strike = lambda _: next(commits) == int(sys.argv[2]) and os.kill(os.getpid(), signal.SIGKILL)
sa.event.listen(runtime.engine, "commit", strike)
switchover.advance(runtime, UUID(sys.argv[1]), 25)
"""


@pytest.mark.slow
def test_processes_that_are_killed_one_after_the_other_lose_nothing(town: Town) -> None:
    failure(town)
    for victim in (2, 8, 9, 12):
        command = [sys.executable, "-c", WORKER, str(town.switch_id), str(victim)]
        worker = subprocess.run(command, cwd=ROOT, env=dict(town.office.bridge.environ), capture_output=True)
        assert worker.returncode == -signal.SIGKILL, worker.stderr.decode()
    report = town.finish()["report"]
    assert report["differences"] == 0
    assert (report["moved"]["number"], report["declared_again"]["number"], report["claimed"]["number"]) == (71, 24, 87)


@pytest.mark.parametrize("mode", ["failure", "handover"])
def test_what_happens_during_a_switch_is_moved_too(mode: str, town: Town) -> None:
    BEGIN[mode](town)
    spent = iter(town.open[20:])
    for turn in range(20):
        done = town.advance()
        redeemed = next(spent)
        (redemption,) = town.office.redeem([redeemed])
        if turn % 2:
            town.office.reverse(redemption, redeemed)
        town.office.cancel([next(spent)])
        town.office.issue(3)
        town.office.push(town.new)
        if done:
            break
    assert town.watch()["report"]["differences"] == 0
    town.office.push_all(town.new)
    missing = town.office.rows(
        "SELECT FROM cheque WHERE state = 'open' AND NOT EXISTS (SELECT FROM link JOIN contract USING (contract_id)"
        " WHERE link.cheque_id = cheque.cheque_id AND link.state = 'registered' AND contract.code = 'new')"
    )
    owed = town.office.rows("SELECT FROM redemption WHERE state IN ('due', 'stranded')")
    assert (missing, owed) == ([], [])


def test_a_redemption_taken_back_after_a_handover_gives_its_cheque_to_the_new_operator(town: Town) -> None:
    handover(town)
    town.finish()
    cheque, redemption = town.office.rows(
        "SELECT cheque_id, redemption_id FROM redemption WHERE state = 'confirmed' AND via = 'till'"
        " AND contract_id = :old LIMIT 1", old=town.old,
    )[0]  # fmt: skip
    town.office.reverse(redemption, cheque)
    for contract in (town.old, town.new):
        town.office.push_all(contract)
    links = town.office.rows("SELECT contract_id, state FROM link WHERE cheque_id = :cheque", cheque=cheque)
    assert {row.contract_id: row.state for row in links} == {town.old: "closed", town.new: "registered"}
    assert town.operator.simulator.register.cheques[str(cheque)].status == "cancelled"


def test_a_handover_in_which_the_operator_dies_becomes_a_failure(town: Town) -> None:
    handover(town)
    town.operator.die()
    town.advance()
    assert town.watch()["step"] == "last_statement"
    assert town.watch()["waiting_for"].startswith("the last statement of old")
    first = town.switch_id
    assert town.ask("failure").status_code == 201
    assert town.switch_id == first
    report = town.finish()["report"]
    assert (report["differences"], report["claimed"]["number"]) == (0, 87)


def test_unpaid_redemptions_go_to_another_payer_where_the_contract_says_so(town: Town) -> None:
    town.operator.die()
    payer = town.office.contract("regie", "draft", code="payer")
    town.go_on()
    assert town.ask("failure", payer_contract_id=str(payer)).status_code == 201
    for _ in range(20):
        done = town.advance()
        town.office.push_all(payer)
        if done:
            break
    rows = town.register()
    assert [row for row in rows["redemptions"] if row[0] != "old"] == [("payer", "confirmed", 24)]
    assert ("new", "registered", 71) in rows["links"]
    town.office.issue()
    assert [row.code for row in town.office.rows(
        "SELECT code FROM operator_order JOIN contract USING (contract_id) ORDER BY sequence DESC LIMIT 1"
    )] == ["new"]  # fmt: skip


def test_what_the_new_operator_refuses_waits_for_a_person(town: Town) -> None:
    failure(town)
    town.advance()
    refused = town.office.rows("SELECT order_id FROM operator_order WHERE kind = 'register' ORDER BY sequence LIMIT 1")
    assert refused
    cheque = town.open[30]
    town.office.execute(
        "UPDATE link SET state = 'refused' WHERE cheque_id = :cheque AND contract_id = :new",
        cheque=cheque,
        new=town.new,
    )
    for _ in range(4):
        town.advance()
    assert town.watch()["waiting_for"] == "1 differences to be resolved, or accepted by a person with a note"
    assert town.watch()["steps"][-1]["figures"]["not_registered"] == {"number": 1, "cents": 1000}
    answer = town.office.post(f"/v1/switches/{town.switch_id}/acceptance", {"note": "it is void"})
    assert answer.status_code == 200
    report = town.finish()["report"]
    assert (report["differences"], report["accepted"]) == (1, "it is void")
    assert town.office.post(f"/v1/switches/{town.switch_id}/acceptance", {"note": "again"}).status_code == 409


def test_the_same_switch_again_is_the_same_switch(town: Town) -> None:
    failure(town)
    first = town.switch_id
    town.finish()
    before = town.register()
    assert town.ask("failure").status_code == 201
    assert (town.switch_id, town.finish()["step"], town.register()) == (first, "cut_over", before)
    assert len(town.office.get("/v1/switches")["items"]) == 1


def test_contracts_that_do_not_go_together_are_refused(town: Town) -> None:
    renewed = town.office.contract(state="draft", code="renewed")
    for old, new, slug in (
        (town.old, town.old, "same-contract"), (town.old, renewed, "same-operator"),
        (town.new, town.old, "illegal-transition"),
    ):  # fmt: skip
        body = {"from_contract_id": str(old), "to_contract_id": str(new), "mode": "handover"}
        assert town.office.post("/v1/switches", body).json["type"] == f"urn:souche:{slug}"
    failure(town)
    other = town.office.contract("regie", "draft", code="other")
    body = {"from_contract_id": str(town.old), "to_contract_id": str(other), "mode": "failure"}
    assert town.office.post("/v1/switches", body).json["type"] == "urn:souche:switch-running"


def test_what_a_dead_operator_pays_after_all_is_seen(town: Town) -> None:
    failure(town)
    town.finish()
    (claim, *_) = town.office.rows("SELECT reference, cheque_id FROM claim WHERE kind = 'declared'")
    with town.office.bridge.runtime.transaction() as session:
        applying.apply(session, "docaposte", [Paid("VIR-1", clock.today(), (claim.reference,))])
    (found,) = town.office.get("/v1/discrepancies")["items"]
    assert (found["kind"], found["cheque_id"]) == ("paid_not_redeemed", str(claim.cheque_id))
    (redemption,) = town.office.rows(
        "SELECT state, reference FROM redemption WHERE cheque_id = :id", id=claim.cheque_id
    )
    assert redemption.state == "confirmed"
    assert (found["theirs"]["reference"], found["ours"]["reference"]) == (claim.reference, redemption.reference)


def test_what_a_dead_operator_pays_before_it_is_declared_to_another_is_paid_once(town: Town) -> None:
    failure(town)
    waiting = switchover.advance(town.office.bridge.runtime, town.switch_id)
    assert waiting.step == "register"
    (claim, *_) = town.office.rows("SELECT reference, cheque_id FROM claim WHERE kind = 'declared'")
    with town.office.bridge.runtime.transaction() as session:
        applying.apply(session, "docaposte", [Paid("VIR-1", clock.today(), (claim.reference,))])
    report = town.finish()["report"]
    assert (report["differences"], report["declared_again"]["number"]) == (0, 15 + 1 + 8 - 1)
    (redemption,) = town.office.rows("SELECT state FROM redemption WHERE cheque_id = :id", id=claim.cheque_id)
    assert redemption.state == "paid"
    (found,) = town.office.get("/v1/discrepancies")["items"]
    assert (found["kind"], found["ours"]["state"]) == ("paid_not_redeemed", "stranded")


def test_what_was_declared_to_another_after_a_handover_and_is_paid_by_the_old_one_is_seen(town: Town) -> None:
    handover(town)
    town.finish()
    (former,) = town.office.rows(
        "SELECT o.order_id, o.cheque_id FROM operator_order o JOIN redemption USING (redemption_id)"
        " WHERE o.kind = 'declare' AND o.contract_id = :old AND redemption.contract_id = :new LIMIT 1",
        old=town.old, new=town.new,
    )  # fmt: skip
    with town.office.bridge.runtime.transaction() as session:
        applying.apply(session, "docaposte", [Paid("VIR-1", clock.today(), (str(former.order_id),))])
    (found,) = town.office.get("/v1/discrepancies")["items"]
    assert (found["kind"], found["cheque_id"]) == ("paid_not_redeemed", str(former.cheque_id))
