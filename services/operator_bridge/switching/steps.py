"""The seven steps of a switch. Each may be begun again wherever it was left, any number of times.

A step gives its figures when it is done, or `Waiting` when it has to be called again: for orders to be settled, for an
operator to answer, for a person. What it changes, it changes in transactions of its own, so nothing long is ever open.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.contracts import lifecycle
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.orders import creating, manual
from services.operator_bridge.reconciliation import comparing
from services.operator_bridge.register.models import Contract
from services.operator_bridge.switching import moving, progress
from services.operator_bridge.switching.moving import Work
from shared.problems import Unavailable

Figures = Mapping[str, Any]

# The outcome of orders that are not sent again any more is requested too: it is needed before they are moved.
_HOWEVER_OFTEN = 1_000


@dataclass(frozen=True)
class Waiting:
    """Why a step is not done, and its figures so far."""

    reason: str
    figures: Figures = field(default_factory=dict)


def freeze(work: Work) -> Figures | Waiting:
    """Stops sending to the old operator, for a while or for good, and names its successor."""
    settings = work.runtime.settings.operators
    with work.runtime.transaction() as session:
        manual.doubt(session, work.old.contract_id)
        lifecycle.change(session, settings, work.old.contract_id, "failed" if work.failed else "draining")
        if not work.failed:
            lifecycle.hold(session, work.old.contract_id, f"switch to {work.new.code}")
        for taker in work.takers:
            contract = session.get_one(Contract, taker.contract_id)
            contract.succeeds = work.old.contract_id
            lifecycle.publish(session, contract)
    return {}


def inventory(work: Work) -> Figures | Waiting:
    """Counts, in our own register alone, what there is to move."""
    with work.runtime.transaction() as session:
        return progress.inventory(session, work)


def last_statement(work: Work) -> Figures | Waiting:
    """Reads the old operator's last statement; or, if it is dead, writes down what it owes."""
    return _claim(work) if work.failed else _read_last_statement(work)


def _read_last_statement(work: Work) -> Figures | Waiting:
    try:
        statement_polling.poll(work.runtime, work.old.contract_id, most=_HOWEVER_OFTEN)
    except Unavailable as error:
        return Waiting(f"the last statement of {work.old.code}: {error.detail}")
    with work.runtime.transaction() as session:
        unsettled = progress.unsettled(session, work.old.contract_id)
    if not unsettled:
        return {}
    return Waiting(f"{unsettled} orders and reports of {work.old.code} whose outcome only its statement can tell")


def _claim(work: Work) -> Figures | Waiting:
    _repeat(work, lambda session, _: moving.strand(session, work))
    _repeat(work, lambda session, _: moving.strand_redemptions(session, work))
    _repeat(work, lambda session, _: moving.give_up(session, work))
    with work.runtime.transaction() as session:
        return progress.claimed(session, work.switch.switch_id)


def register(work: Work) -> Figures | Waiting:
    """Takes the new contract live and registers every spendable cheque under it."""
    settings = work.runtime.settings.operators
    with work.runtime.transaction() as session:
        for taker in work.takers:
            lifecycle.change(session, settings, taker.contract_id, "live", link=False)
            moving.introduce(session, work.to(taker))
    _register_rest(work)
    if any(lookup.adapter(taker.operator).activates for taker in work.takers):
        _redeclare_rest(work)  # now, so that one payment order is for all cheques
    outcome = _settled(work, "register", "registrations")
    return outcome if isinstance(outcome, Waiting) else _to_activate(work, outcome) or outcome


def redeclare(work: Work) -> Figures | Waiting:
    """Declares unpaid redemptions to the contract that pays them now."""
    _redeclare_rest(work)
    outcome = _settled(work, "declare", "declarations")
    return (_to_activate(work, outcome.figures) or outcome) if isinstance(outcome, Waiting) else outcome


def prove(work: Work) -> Figures | Waiting:
    """Compares the new operator's statement with our register, and our register with what there was to move."""
    _register_rest(work)
    _redeclare_rest(work)
    with work.runtime.transaction() as session:
        unsettled = progress.ordered(session, work.switch.switch_id)["unsettled"]
        proof = progress.register_proof(session, work)
    if unsettled:
        return _to_activate(work, proof) or Waiting(f"{unsettled} orders that came while the others were moved")
    try:
        proof["statements"] = [statement for taker in work.takers if (statement := _compare(work, taker))]
    except Unavailable as error:
        return Waiting(f"the statement to prove it by: {error.detail}", proof)
    missing = sum(proof[name]["number"] for name in ("not_registered", "not_declared"))
    proof["differences"] = missing + sum(statement["differences"] for statement in proof["statements"])
    if proof["differences"] and not work.switch.accepted:
        reason = f"{proof['differences']} differences to be resolved, or accepted by a person with a note"
        return Waiting(reason, proof)
    return proof


def cut_over(work: Work) -> Figures | Waiting:
    """Cancels with the old operator the cheques that another one has now, and sends its held orders."""
    if not work.failed:
        _repeat(work, lambda session, after: moving.leave(session, work, after))
    with work.runtime.transaction() as session:
        if not work.failed:
            lifecycle.release(session, work.old.contract_id)
        for taker in work.takers:  # once more, for structures that were affiliated meanwhile
            lifecycle.publish(session, session.get_one(Contract, taker.contract_id))
        return progress.left(session, work.old.contract_id)


STEPS: Mapping[str, Callable[[Work], Figures | Waiting]] = {
    step.__name__: step for step in (freeze, inventory, last_statement, register, redeclare, prove, cut_over)
}


def _register_rest(work: Work) -> None:
    _repeat(work, lambda session, after: moving.register(session, work, after))


def _redeclare_rest(work: Work) -> None:
    movable = "stranded" if work.failed else "due"
    _repeat(work, lambda session, _: moving.redeclare(session, work.to(work.payer), movable))


def _repeat(work: Work, part: Callable[[Session, UUID], UUID | int | None]) -> None:
    """Does one part after another, each in a transaction and from where the last ended, until there is nothing left."""
    last: Any = UUID(int=0)
    while last:
        with work.runtime.transaction() as session:
            creating.lock_orders(session)
            last = part(session, last)


def _settled(work: Work, kind: str, what: str) -> Figures | Waiting:
    with work.runtime.transaction() as session:
        found = progress.ordered(session, work.switch.switch_id, kind)
    if found["unsettled"]:
        return Waiting(f"{found['unsettled']} {what} that are not settled yet", found)
    return found


def _to_activate(work: Work, found: Figures) -> Waiting | None:
    """What stands in the way while the new operator lets no cheque be spent before its payment order is named."""
    for taker in work.takers:
        if not lookup.adapter(taker.operator).activates:
            continue
        with work.runtime.transaction() as session:
            number, ordered = progress.inactive(session, taker.contract_id)
        if number > ordered:
            command = f"souche operator activate {taker.code} --payment-order NUMBER"
            return Waiting(f"the payment order (mandat) of {number - ordered} cheques: {command}", found)
        if number:
            return Waiting(f"{number} activations that are not settled yet", found)
    return None


def _compare(work: Work, contract: Contract) -> dict[str, Any] | None:
    compared = comparing.compare(work.runtime, contract.contract_id)
    if not compared.compared:
        return None
    found = {"contract": contract.code, "differences": compared.count, "moving": compared.moving}
    return found | {name: int(value) for name, value in compared.totals.items()}
