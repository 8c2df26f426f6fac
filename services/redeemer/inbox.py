"""The events of the issuer and of the bridge, each kind to its use case, and their recovery after a restore.

Events arrive in any relative order. An event about a cheque or a redemption that is not here yet is parked under its
id, and applied when that arrives. Of two transactions, one that parks and one that issues, neither would see the
other's rows, so both do it under one lock.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.cheques import ending, intake
from services.redeemer.cheques.models import Cheque
from services.redeemer.payments import settlement
from services.redeemer.payments.settlement import News
from services.redeemer.recovery import recalling
from services.redeemer.redemptions import operator_till
from services.redeemer.redemptions.models import Redemption
from services.redeemer.structures import structures
from shared.database import engine
from shared.eventlog import consumer, event_kinds
from shared.eventlog.consumer import PARKED, Handler
from shared.eventlog.event_kinds import (
    Body,
    ChequesBlocked,
    ChequesIssued,
    ChequesRegistered,
    RedemptionRemembered,
    RedemptionReported,
    RedemptionsConfirmed,
    RedemptionsPaid,
    RedemptionsRefused,
    RedemptionsStranded,
)
from shared.eventlog.log import Event
from shared.eventlog.peer_client import Peer
from shared.process import recovery
from shared.process.runtime import Runtime

_Body = TypeVar("_Body", bound=Body)

_LOCK = sa.text("SELECT pg_advisory_xact_lock('parked_event'::regclass::oid::bigint)")


def _of_bodies(use_case: Callable[[Session, Sequence[_Body]], None]) -> Handler:
    """The handler that calls a use case with the bodies of the events."""
    return lambda session, run: use_case(session, [event.body for event in run])


def _issued(session: Session, run: Sequence[Event[ChequesIssued]]) -> None:
    ids = intake.issue(session, [event.body for event in run])
    session.execute(_LOCK)
    _take_up(session, ids)


def _blocked(blocked: bool, session: Session, run: Sequence[Event[ChequesBlocked]]) -> None:
    intake.block(session, [cheque_id for event in run for cheque_id in event.body.cheque_ids], blocked)


def _registered(session: Session, run: Sequence[Event[ChequesRegistered]]) -> None:
    ids = [cheque_id for event in run for cheque_id in event.body.cheque_ids]
    missing = _missing(session, Cheque.id, ids)
    for event in run:
        for cheque_id in missing.intersection(event.body.cheque_ids):
            consumer.park(session, cheque_id, event.narrowed(cheque_ids=[cheque_id]))
    intake.register(session, [cheque_id for cheque_id in ids if cheque_id not in missing])


def _reported(session: Session, run: Sequence[Event[RedemptionReported]]) -> None:
    missing = _park_missing(session, Cheque.id, [(event.body.cheque_id, event) for event in run])
    operator_till.record(session, [event.body for event in run if event.body.cheque_id not in missing])
    _take_up(session, [event.body.report_id for event in run])


def _remembered(session: Session, run: Sequence[Event[RedemptionRemembered]]) -> None:
    missing = _park_missing(session, Cheque.id, [(event.body.cheque_id, event) for event in run])
    recalling.record(session, [event.body for event in run if event.body.cheque_id not in missing])
    _take_up(session, [event.body.redemption_id for event in run])


def _refused(session: Session, run: Sequence[Event[RedemptionsRefused]]) -> None:
    news = [
        (News(line.redemption_id, event.body.contract_id, line.reason), event.narrowed(redemptions=[line]))
        for event in run
        for line in event.body.redemptions
    ]
    _settle(session, "refused", news)


def _settled(
    state: str, session: Session, run: Sequence[Event[RedemptionsConfirmed | RedemptionsPaid | RedemptionsStranded]]
) -> None:
    news = []
    for event in run:
        body = event.body
        payment = (body.payment_reference, body.paid_on) if isinstance(body, RedemptionsPaid) else (None, None)
        for redemption_id in body.redemption_ids:
            line = News(redemption_id, body.contract_id, None, *payment)
            news.append((line, event.narrowed(redemption_ids=[redemption_id])))
    _settle(session, state, news)


HANDLERS: Mapping[str, Handler] = {
    "cheques.issued": _issued,
    "cheques.redigested": _of_bodies(intake.redigest),
    "cancellation.requested": _of_bodies(ending.cancel),
    "cheques.blocked": partial(_blocked, True),
    "cheques.unblocked": partial(_blocked, False),
    "cheques.registered": _registered,
    "redemption.reported": _reported,
    "redemptions.confirmed": partial(_settled, "confirmed"),
    "redemptions.refused": _refused,
    "redemptions.paid": partial(_settled, "paid"),
    "redemptions.stranded": partial(_settled, "stranded"),
    "contract.changed": _of_bodies(structures.mirror_contracts),
    "redemption.remembered": _remembered,
}


def _settle(session: Session, state: str, news: Sequence[tuple[News, Event[Any]]]) -> None:
    """Settles redemptions; news of missing ones are parked, as their reports are still to come."""
    _park_missing(session, Redemption.id, [(line.redemption_id, event) for line, event in news])
    settlement.settle_by_operator(session, state, [line for line, _ in news])


def _park_missing(session: Session, identifier: Any, events: Sequence[tuple[UUID, Event[Any]]]) -> set[UUID]:
    """Parks the events of cheques and redemptions that are not here, and returns their ids."""
    missing = _missing(session, identifier, [identity for identity, _ in events])
    for identity, event in events:
        if identity in missing:
            consumer.park(session, identity, event)
    return missing


def _missing(session: Session, identifier: Any, ids: Collection[UUID]) -> set[UUID]:
    """The ids that are not here; until this transaction ends, no event that waits for them is taken up."""
    missing = _not_here(session, identifier, ids)
    if not missing:
        return missing
    session.execute(_LOCK)
    return _not_here(session, identifier, missing)


def _not_here(session: Session, identifier: Any, ids: Collection[UUID]) -> set[UUID]:
    return set(ids).difference(session.scalars(sa.select(identifier).where(engine.among(identifier, ids))))


def _take_up(session: Session, ids: Collection[UUID]) -> None:
    waiting = sa.select(PARKED.c.cheque_id).distinct().where(engine.among(PARKED.c.cheque_id, ids))
    found = session.scalars(waiting).all()
    if found:
        consumer.run_handlers(session, consumer.unpark(session, found), HANDLERS)


def take_in(runtime: Runtime, peer: Peer) -> int:
    """Restores the redemptions that a peer has; returns how many were missing here. Raises PeerUnavailable."""
    missing = 0
    for items in recovery.pages(peer, "/v1/recollections/redemptions", "redemption_id"):
        run = [_memory(item) for item in items if not _is_report(peer, item)]
        with runtime.transaction() as session:
            missing += len(_not_here(session, Redemption.id, [event.event_id for event in run]))
            consumer.run_handlers(session, run, HANDLERS)
    return missing


def _memory(item: Mapping[str, Any]) -> Event[RedemptionRemembered]:
    kind = "redemption.remembered"
    body: RedemptionRemembered = event_kinds.load(kind, item)
    return Event(body.redemption_id, kind, str(body.cheque_id), body.redeemed_at, body)


def _is_report(peer: Peer, item: Mapping[str, Any]) -> bool:
    """Whether an operator's till redeemed it: its id is made from the operator's reference.

    The issuer does not distinguish these from ours; they are on the bridge's log, and are read there again.
    """
    return peer.name == "issuer" and UUID(item["redemption_id"]).version == 5
