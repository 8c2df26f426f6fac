"""Runs of reconciliation: each kind of discrepancy planted at the operator, settled by policy or left to a person."""

import random
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from demo.simulators.docaposte_register import Cheque
from services.operator_bridge import applying, policies, reconciling
from services.operator_bridge.reconciliation import KINDS
from shared import clock
from shared.ids import new_id
from tests.operator_bridge.conftest import Office

Run = dict[str, Any]


def reconcile(office: Office, contract: UUID) -> Run:
    """Asks for a run, does it as the worker would, and gives it as it is served."""
    asked = office.post("/v1/reconciliations", {"contract_id": str(contract)})
    assert asked.status_code == 202, asked.json
    run_id = asked.json["reconciliation_id"]
    reconciling.run(office.bridge.runtime, UUID(run_id))
    found: Run = office.get(f"/v1/reconciliations/{run_id}")
    assert found["state"] == "done", found
    return found


def differences(office: Office, **chosen: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in chosen.items())
    found: list[dict[str, Any]] = office.get(f"/v1/discrepancies?{query}")["items"]
    return found


def the_difference(office: Office) -> dict[str, Any]:
    (found,) = differences(office)
    return found


def lose(simulator: Simulator, cheque: UUID) -> None:
    """The operator loses a cheque with all that it was told of it, as one does that restores an old backup."""
    held = simulator.register.cheques.pop(str(cheque))
    simulator.register._order.remove(held)
    simulator.register.numbers = {
        code: each for code, each in simulator.register.numbers.items() if each != held.number
    }
    simulator.register.outcomes.clear()


@pytest.fixture
def contract(office: Office) -> UUID:
    """A contract whose operator knows the structure."""
    found = office.contract()
    office.affiliate(found)
    return found


@pytest.fixture
def cheques(office: Office, contract: UUID) -> list[UUID]:
    """Three registered cheques."""
    issued = office.issue(3)
    office.push_all(contract)
    return issued


def test_registers_in_step_have_no_difference(office: Office, contract: UUID, cheques: list[UUID]) -> None:
    office.redeem(cheques[:1])
    office.push_all(contract)
    run = reconcile(office, contract)
    assert (run["compared"], run["differences"], run["moving"], run["withheld"]) == (True, {}, 0, False)
    assert run["ours"] == run["theirs"] == {
        "redeemed": {"number": 1, "cents": 1000, "redeemed_cents": 1000},
        "registered": {"number": 2, "cents": 2000, "redeemed_cents": 0},
    }  # fmt: skip
    assert differences(office) == []


def test_a_cheque_that_the_operator_lost_is_registered_again(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    lose(simulator, cheques[0])
    run = reconcile(office, contract)
    assert (run["differences"], run["settled"]) == ({"missing_at_operator": 1}, 1)
    found = the_difference(office)
    assert (found["kind"], found["state"], found["policy"]) == ("missing_at_operator", "settling", "sent_again")
    office.push_all(contract)
    assert reconcile(office, contract)["differences"] == {}
    found = the_difference(office)
    assert (found["state"], found["resolved_by"]) == ("resolved", "policy")


def test_a_redeemed_cheque_that_the_operator_lost_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.redeem(cheques[:1])
    office.push_all(contract)
    lose(simulator, cheques[0])
    assert reconcile(office, contract)["waiting"] == 1
    assert (the_difference(office)["policy"], office.push(contract)) == (None, 0)


def test_what_the_operator_says_it_has_and_does_not_list_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register._order.pop(0)
    for expected in ("settling", "waiting", "waiting"):
        reconcile(office, contract)
        office.push_all(contract)
        assert the_difference(office)["state"] == expected


def test_a_cancelled_cheque_that_is_not_listed_is_worth_nothing_on_either_side(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.cancel(cheques[:1])
    office.push_all(contract)
    lose(simulator, cheques[0])
    for _ in range(2):
        assert reconcile(office, contract)["waiting"] == 0
        found = the_difference(office)
        assert (found["state"], found["policy"]) == ("resolved", "without_value")


def test_a_cheque_that_we_never_gave_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    stranger = new_id()
    simulator.register._order.append(Cheque(str(stranger), "contract", 1000, "9999"))
    assert reconcile(office, contract)["waiting"] == 1
    found = the_difference(office)
    assert (found["kind"], found["cheque_id"], found["ours"]) == ("unknown_here", str(stranger), {})
    assert found["theirs"] == {"status": "registered", "value_cents": 1000, "redeemed_cents": 0}


def test_another_amount_waits_for_a_person_with_both_sides(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register.cheques[str(cheques[0])].value_cents = 900
    assert reconcile(office, contract)["differences"] == {"amount_differs": 1}
    found = the_difference(office)
    assert (found["state"], found["policy"]) == ("waiting", None)
    assert (found["ours"]["value_cents"], found["theirs"]["value_cents"]) == (1000, 900)


@pytest.mark.parametrize("told", ["cancelled", "blocked", "unblocked", "redeemed"])
def test_a_status_that_the_operator_lost_is_told_again(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID], told: str
) -> None:
    chosen = cheques[:1]
    if told == "cancelled":
        office.cancel(chosen)
    if told == "redeemed":
        office.redeem(chosen)
    if told in ("blocked", "unblocked"):
        office.tell("cheques.blocked", {"cheque_ids": chosen, "reason": "lost"})
    if told == "unblocked":
        office.tell("cheques.unblocked", {"cheque_ids": chosen, "reason": "found"})
    office.push_all(contract)
    theirs = simulator.register.cheques[str(chosen[0])]
    theirs.cancelled, theirs.redemption, theirs.blocked = False, None, told == "unblocked"
    simulator.register.outcomes.clear()
    assert reconcile(office, contract)["differences"] == {"status_differs": 1}
    assert the_difference(office)["policy"] == "sent_again"
    office.push_all(contract)
    assert reconcile(office, contract)["differences"] == {}


def test_a_cheque_that_the_operator_cancelled_by_itself_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register.cheques[str(cheques[0])].cancelled = True
    assert reconcile(office, contract)["waiting"] == 1
    found = the_difference(office)
    assert (found["kind"], found["policy"]) == ("status_differs", None)


def test_a_redemption_of_which_no_message_told_is_applied(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    line = simulator.register.redeem_at_till(str(office.structure), None, str(cheques[0]))
    run = reconcile(office, contract)
    assert (run["differences"], run["settled"], run["waiting"]) == ({"redeemed_there_not_here": 1}, 1, 0)
    (reported,) = office.told("redemption.reported")
    assert reported["cheque_id"] == str(cheques[0])
    assert reconcile(office, contract)["moving"] == 1
    report = applying.report_id("docaposte", line["reference"])
    office.redeem(cheques[:1], via="operator", contract_id=contract, report=report)
    assert reconcile(office, contract)["differences"] == {}
    assert the_difference(office)["resolved_by"] == "policy"


def test_a_redemption_that_the_redeemer_does_not_accept_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    line = simulator.register.redeem_at_till(str(office.structure), None, str(cheques[0]))
    office.tell("cheques.blocked", {"cheque_ids": cheques[:1], "reason": "lost"})
    office.push_all(contract)
    reconcile(office, contract)
    report = applying.report_id("docaposte", line["reference"])
    office.tell("redemption.contested", {"report_id": report, "cheque_id": cheques[0], "reason": "blocked"})
    reconcile(office, contract)
    found = the_difference(office)
    assert (found["kind"], found["state"]) == ("redeemed_there_not_here", "waiting")
    assert found["ours"]["reason"] == "blocked"


def test_a_redemption_without_a_line_of_its_own_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register.cheques[str(cheques[0])].redemption = "TILL-9"
    assert reconcile(office, contract)["waiting"] == 1
    found = the_difference(office)
    assert (found["kind"], found["policy"]) == ("redeemed_there_not_here", None)


def test_a_cheque_spent_here_and_at_the_operator_was_redeemed_twice(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    line = simulator.register.redeem_at_till(str(office.structure), None, str(cheques[0]))
    office.redeem(cheques[:1])
    office.push_all(contract)
    run = reconcile(office, contract)
    assert (run["differences"], run["waiting"]) == ({"redeemed_twice": 1}, 1)
    report = applying.report_id("docaposte", line["reference"])
    office.tell("redemption.contested", {"report_id": report, "cheque_id": cheques[0], "reason": "already-redeemed"})
    reconcile(office, contract)
    found = the_difference(office)
    assert (found["kind"], found["reference"], found["state"]) == ("redeemed_twice", line["reference"], "waiting")
    assert found["theirs"]["amount_cents"] == 1000


def test_an_operator_that_counts_a_cheque_double_redeemed_it_twice(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    class Doubled(Cheque):
        @property
        def line(self) -> dict[str, Any]:
            return super().line | {"redeemed_cents": 2 * self.value_cents}

    office.redeem(cheques[:1])
    office.push_all(contract)
    held = simulator.register.cheques[str(cheques[0])]
    simulator.register._order[0] = Doubled(**vars(held))
    assert reconcile(office, contract)["differences"] == {"redeemed_twice": 1}


def test_a_payment_of_which_no_message_told_is_applied(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.redeem(cheques[:2])
    office.push_all(contract)
    simulator.register.pay(clock.today())
    run = reconcile(office, contract)
    assert (run["differences"], run["settled"], run["waiting"]) == ({"status_differs": 2}, 2, 0)
    (event,) = office.told("redemptions.paid")
    assert len(event["redemption_ids"]) == 2
    assert reconcile(office, contract)["differences"] == {}


def test_a_payment_without_a_redemption_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    paid = {"payment_reference": "VIR-9", "paid_on": "2026-03-01", "redemptions": ["NOBODYS"]}
    simulator.register._note("contract", {"type": "payment", **paid})
    for _ in range(2):
        assert reconcile(office, contract)["differences"] == {"paid_not_redeemed": 1}
        found = the_difference(office)
        assert (found["kind"], found["reference"], found["state"]) == ("paid_not_redeemed", "NOBODYS", "waiting")
        assert found["theirs"] == {"reference": "NOBODYS", "payment_reference": "VIR-9", "paid_on": "2026-03-01"}


def test_a_redemption_paid_by_two_transfers_is_paid_once_too_often(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.redeem(cheques[:1])
    office.push_all(contract)
    (payment,) = simulator.register.pay(clock.today())
    office.post(f"/v1/contracts/{contract}/polls")
    simulator.register._note("contract", {"type": "payment", **payment, "payment_reference": "VIR-AGAIN"})
    assert reconcile(office, contract)["differences"] == {"paid_not_redeemed": 1}
    found = the_difference(office)
    assert found["ours"]["payment_reference"] == payment["payment_reference"]
    assert found["theirs"]["payment_reference"] == "VIR-AGAIN"


def test_a_redemption_that_is_not_paid_in_time_waits_for_a_person_until_it_is(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    office.redeem(cheques[:2])
    office.push_all(contract)
    office.execute(
        "UPDATE operator_order SET settled_at = now() - interval '31 days' WHERE kind = 'declare' AND cheque_id = :one",
        one=cheques[0],
    )
    assert reconcile(office, contract)["differences"] == {"redeemed_not_paid_in_time": 1}
    found = the_difference(office)
    assert (found["cheque_id"], found["ours"]["structure_id"]) == (str(cheques[0]), str(office.structure))
    simulator.register.pay(clock.today())
    reconcile(office, contract)
    (late,) = differences(office, kind="redeemed_not_paid_in_time")
    assert (late["state"], late["resolved_by"]) == ("resolved", "agreement")


def test_every_kind_of_difference_is_named(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    kinds = list(KINDS)
    planted = office.issue(6)
    office.redeem(planted[4:6])
    office.push_all(contract)
    theirs = [simulator.register.cheques[str(each)] for each in planted]
    simulator.register._order.remove(theirs[0])
    simulator.register._order.append(Cheque(str(new_id()), "contract", 1000, "9999"))
    theirs[1].value_cents = 900
    theirs[2].cancelled = True
    theirs[3].redemption = "TILL-9"
    twice = {"reference": "TILL-8", "cheque": str(planted[4]), "structure": str(office.structure),
             "amount_cents": 1000, "redeemed_at": clock.now().isoformat()}  # fmt: skip
    simulator.register._note("contract", {"type": "redemption", **twice})
    paid = {"payment_reference": "VIR-9", "paid_on": "2026-03-01", "redemptions": ["NOBODYS"]}
    simulator.register._note("contract", {"type": "payment", **paid})
    office.execute(
        "UPDATE operator_order SET settled_at = now() - interval '31 days' WHERE kind = 'declare' AND cheque_id = :one",
        one=planted[5],
    )
    assert reconcile(office, contract)["differences"] == dict.fromkeys(sorted(kinds), 1)


def test_the_same_lines_twice_are_no_difference(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register._order += simulator.register._order[:2]
    run = reconcile(office, contract)
    assert (run["differences"], run["theirs"]["registered"]["number"]) == ({}, 3)


def test_a_person_resolves_a_difference_with_a_note(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    theirs = simulator.register.cheques[str(cheques[0])]
    theirs.value_cents = 900
    reconcile(office, contract)
    path = f"/v1/discrepancies/{the_difference(office)['discrepancy_id']}/resolution"
    assert office.post(path, {"note": " "}).status_code == 422
    answer = office.post(path, {"note": "They corrected it by a credit note of 12 March."})
    assert answer.status_code == 200, answer.json
    found = the_difference(office)
    assert (found["state"], found["resolved_by"], found["resolver"]) == ("resolved", "person", "test")
    assert found["note"] == "They corrected it by a credit note of 12 March."
    assert office.post(path, {"note": "again"}).status_code == 409
    assert office.post(f"/v1/discrepancies/{new_id()}/resolution", {"note": "none"}).status_code == 404


def test_what_a_person_accepted_stays_closed_until_it_changes(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    theirs = simulator.register.cheques[str(cheques[0])]
    theirs.value_cents = 900
    reconcile(office, contract)
    office.post(f"/v1/discrepancies/{the_difference(office)['discrepancy_id']}/resolution", {"note": "accepted"})
    assert reconcile(office, contract)["waiting"] == 0
    theirs.value_cents = 800
    assert reconcile(office, contract)["waiting"] == 1
    found = the_difference(office)
    assert (found["state"], found["note"], found["theirs"]["value_cents"]) == ("waiting", None, 800)
    (earlier,) = found["history"]
    assert (earlier["note"], earlier["theirs"]["value_cents"]) == ("accepted", 900)


def test_a_difference_that_the_operator_corrects_is_closed_by_agreement(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    theirs = simulator.register.cheques[str(cheques[0])]
    theirs.value_cents = 900
    reconcile(office, contract)
    theirs.value_cents = 1000
    assert reconcile(office, contract)["resolved"] == 1
    assert the_difference(office)["resolved_by"] == "agreement"


def test_where_the_whole_statement_must_be_doubted_no_policy_acts(office: Office, simulator: Simulator) -> None:
    contract = office.contract()
    office.issue(1001)
    office.push_all(contract)
    simulator.register._order.clear()
    run = reconcile(office, contract)
    assert (run["withheld"], run["settled"], run["waiting"]) == (True, 0, 1001)
    assert office.orders() == {"accepted": 1001}
    assert not policies.doubtful(1000, 5)
    assert policies.doubtful(20_001, 2_000_000)


def test_the_same_run_taken_up_twice_changes_nothing(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.register.cheques[str(cheques[0])].value_cents = 900
    simulator.register.redeem_at_till(str(office.structure), None, str(cheques[1]))
    run = reconcile(office, contract)
    before = office.rows("SELECT * FROM discrepancy ORDER BY discrepancy_id")
    reconciling.run(office.bridge.runtime, UUID(run["reconciliation_id"]))
    assert office.rows("SELECT * FROM discrepancy ORDER BY discrepancy_id") == before
    assert len(office.told("redemption.reported")) == 1


def test_a_run_whose_worker_died_is_taken_up_again(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    lose(simulator, cheques[0])
    run = reconcile(office, contract)
    office.execute("UPDATE reconciliation SET state = 'running', finished_at = NULL")
    with office.bridge.runtime.transaction() as session:
        assert reconciling.due(session) == [UUID(run["reconciliation_id"])]
    reconciling.run(office.bridge.runtime, UUID(run["reconciliation_id"]))
    assert office.get(f"/v1/reconciliations/{run['reconciliation_id']}")["state"] == "done"
    assert the_difference(office)["state"] == "settling"


def test_a_run_asked_for_fails_when_the_operator_does_not_answer_and_one_of_the_night_is_tried_again(
    office: Office, simulator: Simulator, contract: UUID
) -> None:
    simulator.faults.order("error", 100, 0)
    for night, state in ((None, "failed"), (date(2026, 3, 1), "requested")):
        office.execute("DELETE FROM reconciliation")
        office.execute(
            "INSERT INTO reconciliation (contract_id, night) VALUES (:one, :night)", one=contract, night=night
        )
        ((run_id,),) = office.rows("SELECT reconciliation_id FROM reconciliation")
        reconciling.run(office.bridge.runtime, run_id)
        found = office.get(f"/v1/reconciliations/{run_id}")
        assert (found["state"], found["attempts"]) == (state, 1)
        assert "does not give its statement" in found["error"]


@pytest.mark.parametrize(("hour", "nights"), [(2, 0), (3, 1), (23, 1)])
def test_the_night_asks_for_each_contract_once(office: Office, contract: UUID, hour: int, nights: int) -> None:
    office.contract(code="drafted", state="draft")
    for _ in range(2):
        with office.bridge.runtime.transaction() as session:
            reconciling.request_nightly(session, datetime(2026, 3, 1, hour, tzinfo=clock.PARIS))
    found = office.rows("SELECT contract_id, night FROM reconciliation")
    assert found == [(contract, date(2026, 3, 1))] * nights


def test_an_operator_without_a_statement_has_nothing_to_compare(office: Office) -> None:
    contract = office.contract(operator="regie")
    office.issue(2)
    office.push_all(contract)
    run = reconcile(office, contract)
    assert (run["compared"], run["differences"]) == (False, {})


def test_a_run_of_no_contract_is_refused(office: Office) -> None:
    assert office.post("/v1/reconciliations", {"contract_id": str(new_id())}).status_code == 404


def test_another_day_is_late_and_today_is_not(office: Office, contract: UUID, cheques: list[UUID]) -> None:
    office.redeem(cheques[:1])
    office.execute("UPDATE redemption SET redeemed_at = now() - :age", age=timedelta(days=60))
    office.push_all(contract)
    assert reconcile(office, contract)["differences"] == {}


@pytest.fixture
def moved(office: Office, contract: UUID, cheques: list[UUID]) -> UUID:
    """A contract whose cheques another operator has now; the first was redeemed and declared to this one before."""
    office.redeem(cheques[:1])
    office.push_all(contract)
    office.execute("UPDATE link SET state = 'closed'")
    office.execute("UPDATE redemption SET state = 'due', contract_id = NULL, reference = NULL")
    return contract


def test_what_another_operator_has_now_is_no_difference(office: Office, moved: UUID) -> None:
    assert reconcile(office, moved)["differences"] == {}


def test_what_another_operator_has_now_and_is_spent_at_the_old_one_is_a_difference(
    office: Office, simulator: Simulator, moved: UUID, cheques: list[UUID]
) -> None:
    simulator.register._order.pop(2)
    simulator.register.cheques[str(cheques[1])].redemption = "TILL-9"
    assert reconcile(office, moved)["differences"] == {"redeemed_there_not_here": 1}


def damage(office: Office, simulator: Simulator, cheque: UUID, how: str) -> None:
    """Something goes wrong with one cheque in the operator's books, or with what we are told of it."""
    register = simulator.register
    held = register.cheques[str(cheque)]
    if how == "lost":
        lose(simulator, cheque)
    elif how == "hidden":
        register._order.remove(held)
    elif how == "worth less":
        held.value_cents -= 100
    elif how == "cancelled":
        held.cancelled = True
    elif how == "spent without a line":
        held.redemption = held.redemption or "TILL-9"
    elif how == "spent at the till" and held.status == "registered":
        register.redeem_at_till(str(office.structure), None, str(cheque))
    elif how == "forgot the redemption":
        held.redemption = None
        register.outcomes.clear()


HARM = (
    "lost",
    "hidden",
    "worth less",
    "cancelled",
    "spent without a line",
    "spent at the till",
    "forgot the redemption",
)


def judge(office: Office, contract: UUID) -> None:
    """What the redeemer says to the operator's reports."""
    judged = {row.presentation_id for row in office.rows("SELECT presentation_id FROM redemption")}
    for said in office.told("redemption.reported"):
        report, cheque = UUID(said["report_id"]), UUID(said["cheque_id"])
        ((state,),) = office.rows("SELECT state FROM cheque WHERE cheque_id = :cheque", cheque=cheque)
        if report in judged:
            continue
        if state == "open":
            office.redeem([cheque], via="operator", contract_id=contract, report=report)
        else:
            reason = "already-redeemed" if state == "redeemed" else state
            office.tell("redemption.contested", {"report_id": report, "cheque_id": cheque, "reason": reason})


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_operator_has_wrong_is_settled_or_waits_for_a_person(
    office: Office, simulator: Simulator, contract: UUID, seed: int
) -> None:
    chance = random.Random(seed)
    cheques = office.issue(12)
    office.redeem(cheques[:3])
    office.cancel(cheques[3:5])
    office.tell("cheques.blocked", {"cheque_ids": cheques[5:6], "reason": "lost"})
    office.push_all(contract)
    harmed = chance.sample(cheques, 6)
    for cheque in harmed:
        damage(office, simulator, cheque, chance.choice(HARM))
    for _ in range(4):
        run = reconcile(office, contract)
        office.push_all(contract)
        judge(office, contract)
    left = differences(office)
    assert {each["state"] for each in left} <= {"waiting", "resolved"}
    assert run["waiting"] == sum(each["state"] == "waiting" for each in left)
    assert {each["cheque_id"] for each in left} <= {str(cheque) for cheque in harmed}
    assert set(office.orders()) == {"accepted"}
