"""What the events of issuer and redeemer mean for the operators: a run of one kind at a time, by set.

The two logs come in any order relative to each other. What the redeemer says of a cheque that the issuer has not told
of yet is parked, cheque by cheque, and taken up with that cheque.
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
from shared.eventlog.consumer import Handler, park, run_handlers, unpark
from shared.eventlog.event_kinds import (
    Body,
    ChequesBlocked,
    ChequesCancelled,
    ChequesExpired,
    ChequesIssued,
    ChequesRedeemed,
    RedemptionContested,
    RedemptionReversed,
    RedemptionsPaid,
    RedemptionsUnpaid,
    StructureAffiliated,
    StructureSuspended,
)
from shared.eventlog.log import Event

_Closing = ChequesCancelled | ChequesExpired
_OfCheques = TypeVar("_OfCheques", bound=Body)

_KNOWN = sa.text("SELECT cheque_id FROM cheque WHERE cheque_id = ANY(:cheques)")
_KNOWN_REDEMPTIONS = sa.text("SELECT redemption_id FROM redemption WHERE redemption_id = ANY(:redemptions)")


def _issued(session: Session, run: Sequence[Event[ChequesIssued]]) -> None:
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


def _redeemed(session: Session, run: Sequence[Event[ChequesRedeemed]]) -> None:
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
        for event in _of_known_cheques(session, run, _redemptions, _only_redemption)
        for redemption in event.body.redemptions
    ]
    if redemptions:
        deriving.redeem(session, redemptions)
        applying.match_payments(session)
        taken = [redemption["redemption_id"] for redemption in redemptions]
        run_handlers(session, unpark(session, taken), HANDLERS)


def _reversed(session: Session, run: Sequence[Event[RedemptionReversed]]) -> None:
    known = _of_known_cheques(session, run, lambda event: [event.body.cheque_id], lambda event, _: event)
    reasons = {event.body.redemption_id: event.body.reason for event in known}
    deriving.reverse(session, reasons, [event.body.cheque_id for event in known])
    applying.dispute_payments(session, list(reasons))


def _paid(session: Session, run: Sequence[Event[RedemptionsPaid]]) -> None:
    """The accountant paid."""
    creating.lock_orders(session)
    accountant_payments.pay(session, _known_redemptions(session, run))


def _known_redemptions(session: Session, run: Sequence[Event[RedemptionsPaid]]) -> list[UUID]:
    """The redemptions that are spoken of; what is said of those whose cheques are not known here yet waits for them."""
    named = [(event, redemption_id) for event in run for redemption_id in event.body.redemption_ids]
    known = set(session.scalars(_KNOWN_REDEMPTIONS, {"redemptions": [redemption_id for _, redemption_id in named]}))
    for event, redemption_id in named:
        if redemption_id not in known:
            park(session, redemption_id, event.narrowed(redemption_ids=[redemption_id]))
    return sorted(known)


def _unpaid(session: Session, run: Sequence[Event[RedemptionsUnpaid]]) -> None:
    """The accountant had not paid after all: told after the payment, and so parked after it where that waits."""
    creating.lock_orders(session)
    accountant_payments.unpay(session, _known_redemptions(session, run))


def _closed(session: Session, run: Sequence[Event[_Closing]], state: str) -> None:
    known = _of_known_cheques(session, run, _cheques, _only_cheque)
    deriving.close(session, state, {cheque_id: state for event in known for cheque_id in event.body.cheque_ids})


def _blocked(session: Session, run: Sequence[Event[ChequesBlocked]], kind: str) -> None:
    creating.lock_orders(session)
    reasons = {cheque_id: event.body.reason for event in run for cheque_id in event.body.cheque_ids}
    deriving.block(session, kind, reasons)


def _affiliated(session: Session, run: Sequence[Event[StructureAffiliated]]) -> None:
    deriving.affiliate(session, [event.body for event in run])


def _suspended(session: Session, run: Sequence[Event[StructureSuspended]]) -> None:
    deriving.suspend(session, {event.body.structure_id: event.body.reason for event in run})


def _contested(session: Session, run: Sequence[Event[RedemptionContested]]) -> None:
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


def _of_known_cheques(
    session: Session,
    run: Sequence[Event[_OfCheques]],
    cheques: Callable[[Event[_OfCheques]], Sequence[UUID]],
    only: Callable[[Event[_OfCheques], set[UUID]], Event[_OfCheques]],
) -> list[Event[_OfCheques]]:
    """The events, each of known cheques only; what they say of the others is parked, one part per cheque."""
    creating.lock_orders(session)
    named = {cheque_id for event in run for cheque_id in cheques(event)}
    unknown = named - set(session.scalars(_KNOWN, {"cheques": list(named)}))
    if not unknown:
        return list(run)
    known = []
    for event in run:
        missing = unknown.intersection(cheques(event))
        for cheque_id in missing:
            park(session, cheque_id, only(event, {cheque_id}))
        rest = set(cheques(event)) - missing
        if rest:
            known.append(only(event, rest))
    return known


def _redemptions(event: Event[ChequesRedeemed]) -> list[UUID]:
    return [redemption.cheque_id for redemption in event.body.redemptions]


def _only_redemption(event: Event[ChequesRedeemed], cheques: set[UUID]) -> Event[ChequesRedeemed]:
    chosen = [redemption for redemption in event.body.redemptions if redemption.cheque_id in cheques]
    return event.narrowed(redemptions=chosen)


def _cheques(event: Event[_Closing]) -> Sequence[UUID]:
    return event.body.cheque_ids


def _only_cheque(event: Event[_Closing], cheques: set[UUID]) -> Event[_Closing]:
    return event.narrowed(cheque_ids=[cheque_id for cheque_id in event.body.cheque_ids if cheque_id in cheques])
