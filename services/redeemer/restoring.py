"""What the redeemer asks the other two for, after its database was restored; and what it remembers of the bridge."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.redeemer.inbox import HANDLERS
from services.redeemer.redemptions.models import Redemption
from shared.database import engine
from shared.eventlog import consumer, event_kinds
from shared.eventlog.event_kinds import RedemptionRemembered
from shared.eventlog.log import Event
from shared.eventlog.peer_client import Peer
from shared.process import recovery
from shared.process.runtime import Runtime

_KIND = "redemption.remembered"


def take_in(runtime: Runtime, peer: Peer) -> int:
    """Takes in the redemptions that a peer remembers; says how many were missing here. Raises PeerUnavailable."""
    missing = 0
    for items in recovery.pages(peer, "/v1/recollections/redemptions", "redemption_id"):
        run = [_event(item) for item in items if not _is_report(peer, item)]
        with runtime.transaction() as session:
            missing += _missing(session, [event.event_id for event in run])
            consumer.run_handlers(session, run, HANDLERS)
    return missing


def _missing(session: Session, ids: list[UUID]) -> int:
    return len(set(ids).difference(session.scalars(sa.select(Redemption.id).where(engine.among(Redemption.id, ids)))))


def _event(item: Mapping[str, Any]) -> Event[RedemptionRemembered]:
    body: RedemptionRemembered = event_kinds.load(_KIND, item)
    return Event(body.redemption_id, _KIND, str(body.cheque_id), body.redeemed_at, body)


def _is_report(peer: Peer, item: Mapping[str, Any]) -> bool:
    """What an operator's till took has an id made from the operator's reference, and the issuer does not tell it from
    what ours took: that one is on the bridge's log, and is read there again."""
    return peer.name == "issuer" and UUID(item["redemption_id"]).version == 5
