"""Anything that goes wrong in the operator's books is settled, or waits for a person."""

import random
from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.reconciliation.differing import cheques, contract, differences, lose, reconcile

pytestmark = pytest.mark.slow

__all__ = ["cheques", "contract"]


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
    for report_event in office.published("redemption.reported"):
        report, cheque = UUID(report_event["report_id"]), UUID(report_event["cheque_id"])
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
    assert {difference["state"] for difference in left} <= {"waiting", "resolved"}
    assert run["waiting"] == sum(difference["state"] == "waiting" for difference in left)
    assert {difference["cheque_id"] for difference in left} <= {str(cheque) for cheque in harmed}
    assert set(office.orders()) == {"accepted"}
