"""Switching operator: seven steps, each stored in the database, which any worker continues where the last one stopped.

Nothing is in memory between two calls of `advance`. If a worker dies in a step, the next tick continues it. Of two
workers at once, each finds what the other has not moved yet, and one records the step.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.contracts import lifecycle
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.models_switch import Switch, SwitchStep
from services.operator_bridge.switching.moving import Work
from services.operator_bridge.switching.steps import STEPS, Figures, Waiting
from shared.database.lookup import get_or_404
from shared.observability.logs import logger
from shared.problems import Conflict, Invalid
from shared.process.runtime import Runtime
from shared.values import clock

BATCH_SIZE = 20_000
"""The rows that a transaction moves."""

_ORDER = tuple(STEPS)
_FROM: Mapping[str, tuple[str, ...]] = {"handover": ("live", "draining"), "failure": ("live", "draining", "failed")}


def start(session: Session, settings: Mapping[str, str], payload: Mapping[str, Any], asked_by: str) -> Switch:
    """A switch that was begun; where the same was begun before, that one as it stands.

    A handover in which the old operator dies is turned into a failure by requesting that: it begins again at the first
    step, and what was done stays done. Raises NotFound, Invalid where the contracts do not go together, Conflict where
    one of them is in no state for it or is in another switch.
    """
    old, new = (contracts.find(session, payload[name]) for name in ("from_contract_id", "to_contract_id"))
    payer = contracts.find(session, payload["payer_contract_id"]) if payload.get("payer_contract_id") else new
    _refuse_unfit(old, new, payer)
    same = sa.select(Switch).filter_by(
        from_contract_id=old.contract_id, to_contract_id=new.contract_id, mode=payload["mode"]
    )
    if begun := session.scalar(same.order_by(Switch.switch_id.desc()).limit(1)):
        return begun
    if running := _running(session, old, new, payer):
        return _turn_to_failure(session, running, old, new, payload["mode"])
    _refuse_state(settings, old, (new, payer), payload["mode"])
    switch = Switch(
        from_contract_id=old.contract_id, to_contract_id=new.contract_id, payer_contract_id=payer.contract_id,
        mode=payload["mode"], creditor=payload["creditor"], asked_by=asked_by, step=_ORDER[0],
    )  # fmt: skip
    session.add(switch)
    session.flush()
    _begin(session, switch)
    return switch


def find(session: Session, switch_id: UUID, *, lock: bool = False) -> Switch:
    """A switch, its row locked if `lock` is set; raises NotFound."""
    return get_or_404(session, Switch, switch_id, "There is no such switch.", lock=lock)


def watch(session: Session, switch_id: UUID) -> dict[str, Any]:
    """A switch with its steps; raises NotFound."""
    switch = find(session, switch_id)
    columns = {column.key: getattr(switch, column.key) for column in Switch.__table__.columns}
    return {**columns, "steps": steps(session, switch_id)}


def steps(session: Session, switch_id: UUID) -> list[SwitchStep]:
    """The steps of a switch that were begun, in their order."""
    begun = session.scalars(sa.select(SwitchStep).where(SwitchStep.switch_id == switch_id))
    return sorted(begun, key=lambda step: _ORDER.index(step.step))


def accept(session: Session, switch_id: UUID, note: str) -> Switch:
    """A switch that goes on although something differs, with a person's note of why. Raises NotFound or Conflict."""
    switch = find(session, switch_id, lock=True)
    if switch.finished_at is not None:
        raise Conflict("The switch is done.", slug="switch-done")
    switch.accepted = note
    return switch


def running(session: Session) -> list[UUID]:
    """The switches that are not done."""
    return list(session.scalars(sa.select(Switch.switch_id).where(Switch.finished_at.is_(None))))


def advance(runtime: Runtime, switch_id: UUID, batch_size: int = BATCH_SIZE) -> Switch:
    """Takes a switch on as far as it goes now."""
    while True:
        with runtime.transaction() as session:
            work = _work(runtime, session, switch_id, batch_size)
        if work.switch.finished_at is not None:
            return work.switch
        outcome = STEPS[work.switch.step](work)
        with runtime.transaction() as session:
            switch = _record(session, work.switch, outcome)
        if isinstance(outcome, Waiting):
            return switch


def _work(runtime: Runtime, session: Session, switch_id: UUID, batch_size: int) -> Work:
    switch = find(session, switch_id)
    ids = (switch.from_contract_id, switch.to_contract_id, switch.payer_contract_id)
    old, new, payer = (session.get_one(Contract, contract_id) for contract_id in ids)
    return Work(runtime, switch, old, new, payer, batch_size)


def _record(session: Session, worked_on: Switch, outcome: Figures | Waiting) -> Switch:
    """Stores the result of a step, unless the switch has moved on since the step was taken up."""
    switch = find(session, worked_on.switch_id, lock=True)
    if (switch.step, switch.mode) != (worked_on.step, worked_on.mode) or switch.finished_at is not None:
        return switch
    step = session.get_one(SwitchStep, (switch.switch_id, switch.step))
    if isinstance(outcome, Waiting):
        switch.waiting_for, step.figures = outcome.reason, dict(outcome.figures)
        return switch
    switch.waiting_for, step.figures, step.finished_at = None, dict(outcome), clock.now()
    logger().info("switch_step_done", switch_id=str(switch.switch_id), step=switch.step, **step.figures)
    if switch.step == _ORDER[-1]:
        switch.finished_at = step.finished_at
        switch.report = _report(session, switch, step.finished_at)
    else:
        switch.step = _ORDER[_ORDER.index(switch.step) + 1]
        _begin(session, switch)
    return switch


def _begin(session: Session, switch: Switch) -> None:
    session.merge(SwitchStep(switch_id=switch.switch_id, step=switch.step))


def _report(session: Session, switch: Switch, finished_at: datetime) -> dict[str, Any]:
    """The result: how many, how much, how long, and what differs."""
    session.flush()
    figures = {step.step: step.figures for step in steps(session, switch.switch_id)}
    return {
        "found": figures["inventory"],
        "claimed": figures["last_statement"].get("claimed"),
        "moved": figures["register"]["accepted"],
        "refused_by_new": figures["register"]["refused"],
        "declared_again": figures["redeclare"]["accepted"],
        "left_to_pay": figures["cut_over"]["left_to_pay"],
        "differences": figures["prove"]["differences"],
        "accepted": switch.accepted,
        "seconds": round((finished_at - switch.started_at).total_seconds(), 1),
    }


def _refuse_unfit(old: Contract, new: Contract, payer: Contract) -> None:
    if old.contract_id in (new.contract_id, payer.contract_id):
        raise Invalid("A switch is from one contract to another.", slug="same-contract")
    if len({contract.programme for contract in (old, new, payer)}) > 1:
        raise Invalid("The contracts are not all of one programme.", slug="other-programme")
    if old.operator in (new.operator, payer.operator):
        raise Invalid("Both contracts are with the same operator: it has the cheques already.", slug="same-operator")


def _refuse_state(settings: Mapping[str, str], old: Contract, takers: tuple[Contract, ...], mode: str) -> None:
    if old.state not in _FROM[mode]:
        raise Conflict(f"A contract that is {old.state} is not switched from by {mode}.", slug="illegal-transition")
    for taker in takers:
        if taker.state not in ("draft", "live"):
            raise Conflict(f"{taker.code} is {taker.state} and takes nothing over.", slug="illegal-transition")
        lifecycle.require_settings(taker.operator, settings)


def _running(session: Session, *named: Contract) -> Switch | None:
    ids = [contract.contract_id for contract in named]
    involved = Switch.from_contract_id.in_(ids) | Switch.to_contract_id.in_(ids) | Switch.payer_contract_id.in_(ids)
    return session.scalar(sa.select(Switch).where(Switch.finished_at.is_(None), involved).with_for_update())


def _turn_to_failure(session: Session, running: Switch, old: Contract, new: Contract, mode: str) -> Switch:
    same = (running.from_contract_id, running.to_contract_id) == (old.contract_id, new.contract_id)
    if not same or mode != "failure":
        raise Conflict("One of these contracts is in another switch.", slug="switch-running",
                       switch_id=str(running.switch_id))  # fmt: skip
    session.execute(sa.delete(SwitchStep).where(SwitchStep.switch_id == running.switch_id))
    running.mode, running.step, running.waiting_for = mode, _ORDER[0], None
    _begin(session, running)
    return running
