"""The news of the issuer and of the bridge, each kind to its use case.

They come in any relative order. What speaks of a cheque, or of a redemption, that is not known here yet is parked
under its id and taken up when it is. Of two transactions, one that parks and one that issues, neither would see the
other's rows, so both do it under one lock.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.cheques import cancelling, intake
from services.redeemer.cheques.models import Cheque
from services.redeemer.payments import operator_news
from services.redeemer.payments.operator_news import News
from services.redeemer.recovery import recalling
from services.redeemer.redemptions import operator_till
from services.redeemer.redemptions.models import Redemption
from services.redeemer.structures import contracts
from shared.eventlog import consumer
from shared.eventlog.consumer import PARKED, Handler
from shared.eventlog.event_kinds import (
    CancellationRequested,
    ChequesBlocked,
    ChequesIssued,
    ChequesRedigested,
    ChequesRegistered,
    ContractChanged,
    RedemptionRemembered,
    RedemptionReported,
    RedemptionsConfirmed,
    RedemptionsPaid,
    RedemptionsRefused,
    RedemptionsStranded,
)
from shared.eventlog.log import Event

_OfRedemptions = TypeVar("_OfRedemptions", RedemptionsConfirmed, RedemptionsPaid, RedemptionsStranded)

_LOCK = sa.text("SELECT pg_advisory_xact_lock('parked_event'::regclass::oid::bigint)")


def issued(session: Session, run: Sequence[Event[ChequesIssued]]) -> None:
    """Takes in issued cheques, then what was already said of them."""
    ids = intake.issue(session, [event.body for event in run])
    session.execute(_LOCK)
    _take_up(session, ids)


def redigested(session: Session, run: Sequence[Event[ChequesRedigested]]) -> None:
    """Takes new digests of codes in."""
    intake.redigest(session, [cheque for event in run for cheque in event.body.cheques])


def cancellation_requested(session: Session, run: Sequence[Event[CancellationRequested]]) -> None:
    """Cancels what can be, and answers."""
    cancelling.cancel(session, [event.body for event in run])


def blocked(session: Session, run: Sequence[Event[ChequesBlocked]]) -> None:
    """Blocks cheques."""
    intake.block(session, _cheque_ids(run), True)


def unblocked(session: Session, run: Sequence[Event[ChequesBlocked]]) -> None:
    """Unblocks cheques."""
    intake.block(session, _cheque_ids(run), False)


def registered(session: Session, run: Sequence[Event[ChequesRegistered]]) -> None:
    """Makes cheques spendable whose programme waits for an operator to register them."""
    ids = _cheque_ids(run)
    missing = _missing(session, Cheque.id, ids)
    for event in run:
        for cheque_id in missing.intersection(event.body.cheque_ids):
            consumer.park(session, cheque_id, event.narrowed(cheque_ids=[cheque_id]))
    intake.register(session, [cheque_id for cheque_id in ids if cheque_id not in missing])


def reported(session: Session, run: Sequence[Event[RedemptionReported]]) -> None:
    """Records redemptions at an operator's own till, then what was already said of these."""
    missing = _missing(session, Cheque.id, [event.body.cheque_id for event in run])
    for event in run:
        if event.body.cheque_id in missing:
            consumer.park(session, event.body.cheque_id, event)
    operator_till.record(session, [event.body for event in run if event.body.cheque_id not in missing])
    _take_up(session, [event.body.report_id for event in run])


def confirmed(session: Session, run: Sequence[Event[RedemptionsConfirmed]]) -> None:
    """Marks redemptions that an operator accepted."""
    _settle(session, "confirmed", _by_redemption(run))


def refused(session: Session, run: Sequence[Event[RedemptionsRefused]]) -> None:
    """Marks redemptions that an operator will not pay."""
    told = [(event.narrowed(redemptions=[line]), line) for event in run for line in event.body.redemptions]
    _settle(
        session,
        "refused",
        [(event, News(line.redemption_id, event.body.contract_id, line.reason)) for event, line in told],
    )


def paid(session: Session, run: Sequence[Event[RedemptionsPaid]]) -> None:
    """Marks redemptions that an operator paid."""
    told = [
        (event, replace(news, payment_reference=event.body.payment_reference, paid_on=event.body.paid_on))
        for event, news in _by_redemption(run)
    ]
    _settle(session, "paid", told)


def stranded(session: Session, run: Sequence[Event[RedemptionsStranded]]) -> None:
    """Marks redemptions whose operator failed before it paid them."""
    _settle(session, "stranded", _by_redemption(run))


def contract_changed(session: Session, run: Sequence[Event[ContractChanged]]) -> None:
    """Keeps the mirror of contracts."""
    contracts.mirror(session, [event.body for event in run])


def remembered(session: Session, run: Sequence[Event[RedemptionRemembered]]) -> None:
    """Takes in redemptions that were lost here and that others remember, then what was already said of these."""
    missing = _missing(session, Cheque.id, [event.body.cheque_id for event in run])
    for event in run:
        if event.body.cheque_id in missing:
            consumer.park(session, event.body.cheque_id, event)
    recalling.record(session, [event.body for event in run if event.body.cheque_id not in missing])
    _take_up(session, [event.body.redemption_id for event in run])


HANDLERS: Mapping[str, Handler] = {
    "cheques.issued": issued,
    "cheques.redigested": redigested,
    "cancellation.requested": cancellation_requested,
    "cheques.blocked": blocked,
    "cheques.unblocked": unblocked,
    "cheques.registered": registered,
    "redemption.reported": reported,
    "redemptions.confirmed": confirmed,
    "redemptions.refused": refused,
    "redemptions.paid": paid,
    "redemptions.stranded": stranded,
    "contract.changed": contract_changed,
    "redemption.remembered": remembered,
}


def _cheque_ids(run: Iterable[Event[ChequesBlocked] | Event[ChequesRegistered]]) -> list[UUID]:
    return [cheque_id for event in run for cheque_id in event.body.cheque_ids]


def _by_redemption(run: Iterable[Event[_OfRedemptions]]) -> list[tuple[Event[_OfRedemptions], News]]:
    return [
        (event.narrowed(redemption_ids=[redemption_id]), News(redemption_id, event.body.contract_id))
        for event in run
        for redemption_id in event.body.redemption_ids
    ]


def _settle(session: Session, state: str, told: Sequence[tuple[Event[Any], News]]) -> None:
    """Settles redemptions, and parks what was told of unknown ones: reports of them are still to come."""
    missing = _missing(session, Redemption.id, [news.redemption_id for _, news in told])
    for event, news in told:
        if news.redemption_id in missing:
            consumer.park(session, news.redemption_id, event)
    operator_news.settle(session, state, [news for _, news in told])


def _missing(session: Session, identifier: Any, ids: Collection[UUID]) -> set[UUID]:
    """Those of these ids that are not here, for good once it says so: until this transaction ends, none is taken up."""
    missing = _not_here(session, identifier, ids)
    if not missing:
        return missing
    session.execute(_LOCK)
    return _not_here(session, identifier, missing)


def _not_here(session: Session, identifier: Any, ids: Collection[UUID]) -> set[UUID]:
    return set(ids).difference(session.scalars(sa.select(identifier).where(identifier == _any(ids))))


def _take_up(session: Session, ids: Collection[UUID]) -> None:
    waiting = sa.select(PARKED.c.cheque_id).distinct().where(PARKED.c.cheque_id == _any(ids))
    found = session.scalars(waiting).all()
    if found:
        consumer.run_handlers(session, consumer.unpark(session, found), HANDLERS)


def _any(ids: Collection[UUID]) -> Any:
    """One parameter, however many they are: a page may tell of more cheques than a statement takes parameters."""
    return sa.any_(sa.literal(list(ids), pg.ARRAY(sa.Uuid)))
