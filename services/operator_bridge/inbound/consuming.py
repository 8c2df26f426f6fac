"""What the events of issuer and redeemer mean for the operators: a batch of one kind at a time, by set.

The two logs arrive in any order relative to each other. A redeemer's event of a cheque whose issue was not read yet is
parked, cheque by cheque, and applied with that cheque.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.inbound import applying
from services.operator_bridge.orders import accountant_payments, creating, deriving
from services.operator_bridge.register import discrepancies
from services.operator_bridge.register.models import Contract, Report
from shared.eventlog import event_kinds as kinds
from shared.eventlog.consumer import Handler, park, run_handlers, unpark
from shared.eventlog.log import Event

_B = TypeVar("_B", bound=kinds.Body)
_Item = TypeVar("_Item")

_CHEQUES = sa.text("SELECT cheque_id FROM cheque WHERE cheque_id = ANY(:ids)")
_REDEMPTIONS = sa.text("SELECT redemption_id FROM redemption WHERE redemption_id = ANY(:ids)")


def _issued(session: Session, run: Sequence[Event[kinds.ChequesIssued]]) -> None:
    cheques: list[dict[str, Any]] = [
        {
            "cheque_id": cheque.cheque_id,
            "programme": event.body.programme.code,
            "value_cents": cheque.value_cents,
            "valid_until": event.body.valid_until,
            "presentable_until": event.body.presentable_until,
        }
        for event in run
        for cheque in event.body.cheques
    ]
    creating.lock_orders(session)
    deriving.issue(session, cheques)
    run_handlers(session, unpark(session, [cheque["cheque_id"] for cheque in cheques]), HANDLERS)


def _redeemed(session: Session, run: Sequence[Event[kinds.ChequesRedeemed]]) -> None:
    items = [(redemption.cheque_id, event, redemption) for event in run for redemption in event.body.redemptions]
    present = _present(session, _CHEQUES, items, lambda event, redemption: event.narrowed(redemptions=[redemption]))
    redemptions: list[dict[str, Any]] = [
        {
            "redemption_id": redemption.redemption_id,
            "presentation_id": event.body.presentation_id,
            "cheque_id": redemption.cheque_id,
            "structure_id": event.body.structure_id,
            "amount_cents": redemption.amount_cents,
            "via": event.body.via,
            "given_on": event.body.given_on,
            "redeemed_at": event.body.redeemed_at,
            "state": "confirmed" if event.body.via == "operator" else "due",
            "contract_id": event.body.contract_id if event.body.via == "operator" else None,
        }
        for event, redemption in present
    ]
    if redemptions:
        deriving.redeem(session, redemptions)
        applying.match_payments(session)
        taken = [redemption["redemption_id"] for redemption in redemptions]
        run_handlers(session, unpark(session, taken), HANDLERS)


def _reversed(session: Session, run: Sequence[Event[kinds.RedemptionReversed]]) -> None:
    items = [(event.body.cheque_id, event, event.body) for event in run]
    bodies = [body for _, body in _present(session, _CHEQUES, items, lambda event, _: event)]
    reasons = {body.redemption_id: body.reason for body in bodies}
    deriving.reverse(session, reasons, [body.cheque_id for body in bodies])
    applying.dispute_payments(session, list(reasons))


def _paid(session: Session, run: Sequence[Event[kinds.RedemptionsPaid]]) -> None:
    """The accountant paid."""
    accountant_payments.pay(session, _redemptions(session, run))


def _unpaid(session: Session, run: Sequence[Event[kinds.RedemptionsUnpaid]]) -> None:
    """The accountant had not paid after all: published after the payment, and so parked after it where that waits."""
    accountant_payments.unpay(session, _redemptions(session, run))


def _redemptions(session: Session, run: Sequence[Event[kinds.RedemptionsPaid]]) -> list[UUID]:
    items = [(redemption_id, event, redemption_id) for event in run for redemption_id in event.body.redemption_ids]
    present = _present(session, _REDEMPTIONS, items, lambda event, paid: event.narrowed(redemption_ids=[paid]))
    return sorted({redemption_id for _, redemption_id in present})


def _closed(session: Session, run: Sequence[Event[kinds.ChequesCancelled | kinds.ChequesExpired]], state: str) -> None:
    items = [(cheque_id, event, cheque_id) for event in run for cheque_id in event.body.cheque_ids]
    present = _present(session, _CHEQUES, items, lambda event, cheque_id: event.narrowed(cheque_ids=[cheque_id]))
    deriving.close(session, state, {cheque_id: state for _, cheque_id in present})


def _blocked(session: Session, run: Sequence[Event[kinds.ChequesBlocked]], kind: str) -> None:
    creating.lock_orders(session)
    reasons = {cheque_id: event.body.reason for event in run for cheque_id in event.body.cheque_ids}
    deriving.block(session, kind, reasons)


def _affiliated(session: Session, run: Sequence[Event[kinds.StructureAffiliated]]) -> None:
    deriving.affiliate(session, [event.body for event in run])


def _suspended(session: Session, run: Sequence[Event[kinds.StructureSuspended]]) -> None:
    deriving.suspend(session, {event.body.structure_id: event.body.reason for event in run})


def _contested(session: Session, run: Sequence[Event[kinds.RedemptionContested]]) -> None:
    for event in run:
        report = session.get(Report, event.body.report_id)
        if report is None:
            continue
        report.contested = event.body.reason
        contract = session.get_one(Contract, report.contract_id)
        twice = event.body.reason == "already-redeemed"
        difference = discrepancies.found(
            contract.operator, "redeemed_twice" if twice else "redeemed_there_not_here", report.reference,
            contract_id=report.contract_id, cheque_id=report.cheque_id,
            ours={"reason": event.body.reason},
            theirs={"amount_cents": report.amount_cents, "structure_id": str(report.structure_id)},
        )  # fmt: skip
        discrepancies.record(session, [difference])


HANDLERS: Mapping[str, Handler] = {
    "cheques.issued": _issued,
    "cheques.blocked": partial(_blocked, kind="block"),
    "cheques.unblocked": partial(_blocked, kind="unblock"),
    "cheques.redeemed": _redeemed,
    "redemption.reversed": _reversed,
    "redemptions.paid": _paid,
    "redemptions.unpaid": _unpaid,
    "cheques.cancelled": partial(_closed, state="cancelled"),
    "cheques.expired": partial(_closed, state="expired"),
    "structure.affiliated": _affiliated,
    "structure.suspended": _suspended,
    "redemption.contested": _contested,
}


def _present(
    session: Session,
    rows: sa.TextClause,
    items: Sequence[tuple[UUID, Event[_B], _Item]],
    narrow: Callable[[Event[_B], _Item], Event[_B]],
) -> list[tuple[Event[_B], _Item]]:
    """Those items of events whose cheque or redemption is in this register; the others are parked, one by one."""
    creating.lock_orders(session)
    present = set(session.scalars(rows, {"ids": [identifier for identifier, _, _ in items]}))
    for identifier, event, item in items:
        if identifier not in present:
            park(session, identifier, narrow(event, item))
    return [(event, item) for identifier, event, item in items if identifier in present]
