"""Recovery of a log that was restored from a backup, and so lacks its end, from the other two services.

A service whose log was restored (its fingerprint differs, see `shared.eventlog.log`) asks its readers before it serves
or works, stores again what they applied of it, and only then sets the new epoch of its log.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from marshmallow import Schema, fields, validate
from sqlalchemy.exc import OperationalError, ProgrammingError

from shared.eventlog import consumer, log
from shared.eventlog.consumer import Handler
from shared.eventlog.event_kinds import READERS
from shared.eventlog.peer_client import Peer, PeerUnavailable
from shared.observability.logs import logger
from shared.process.runtime import Runtime

PAGE_SIZE = 500
_PAUSE_SECONDS = 3.0

# One process of a service asks; the others wait for it.
_WITHOUT_TIMEOUTS = sa.text("""
    SELECT set_config(name, '0', true)
    FROM unnest(ARRAY['idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout']) AS name
""")
_LOCK = sa.text("SELECT pg_advisory_xact_lock('feed_epoch'::regclass::oid::bigint)")

TakeIn = Callable[[Runtime, Peer], int]
"""Takes in what a peer remembers of a service, and says how much of it was missing."""


class Query(Schema):
    """Where a page of memories begins."""

    after = fields.UUID(load_default=UUID(int=0), metadata={"description": "The last id of the page before."})


class RedemptionRemembered(Schema):
    """A redemption as the body of the event `redemption.remembered` has it."""

    redemption_id = fields.UUID(required=True)
    presentation_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    structure_id = fields.UUID(required=True)
    amount_cents = fields.Int(required=True, strict=True, validate=validate.Range(1, 2**31 - 1))
    via = fields.Str(required=True, validate=validate.OneOf(("till", "operator")))
    contract_id = fields.UUID(required=True, allow_none=True)
    redeemed_at = fields.AwareDateTime(required=True)
    given_on = fields.Date(required=True)
    reversed = fields.Bool(required=True)


class RedemptionsRemembered(Schema):
    """A page of redemptions that the redeemer returned."""

    items = fields.List(fields.Nested(RedemptionRemembered), required=True)


def pages(peer: Peer, path: str, key: str) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The pages of what a peer remembers, in the order of their `key`; raises PeerUnavailable."""
    after: dict[str, str] = {}
    while items := peer.get(path, **after)["items"]:
        yield items
        after = {"after": items[-1][key]}


def recall(
    runtime: Runtime, handlers: Mapping[str, Handler], take_in: TakeIn | None, without: Sequence[str] = ()
) -> bool:
    """Asks the others what they remember where this log was restored; returns whether it had been.

    `without` names services that are gone for good and not asked. Raises PeerUnavailable.
    """
    if not log.is_restored(runtime.engine):
        return False
    with runtime.engine.begin() as connection:
        connection.execute(_WITHOUT_TIMEOUTS)
        connection.execute(_LOCK)
        if log.is_restored(runtime.engine):
            # The bridge first: it knows more of a redemption than the issuer does.
            peers = [name for name in sorted(READERS[runtime.settings.service], reverse=True) if name not in without]
            # Then the others' own events: a cancellation must not overtake a redemption.
            for name in peers:
                missing = take_in(runtime, runtime.peers[name]) if take_in else 0
                logger().warning("recalled", of=name, missing=missing)
            for name in peers:
                consumer.pull(runtime.transaction, runtime.peers[name], handlers)
            log.page(runtime.engine, 0, 1)
    return True


def before_work(
    runtime: Runtime, handlers: Mapping[str, Handler], take_in: TakeIn | None, patience: float = math.inf
) -> None:
    """Returns once the log of this process is whole or was made whole, after `patience` seconds at the latest."""
    deadline = time.monotonic() + patience
    while True:
        try:
            if recall(runtime, handlers, take_in):
                logger().warning("log_recalled", effect="what the others remembered was taken in")
            return
        except ProgrammingError:
            return  # there are no tables yet: nothing can have been restored
        except (PeerUnavailable, OperationalError) as error:
            if isinstance(error, PeerUnavailable) and time.monotonic() >= deadline:
                logger().error("not_recalled", error=str(error))
                log.page(runtime.engine, 0, 1)
                return
            logger().warning("waiting_to_recall", error=str(getattr(error, "orig", error)).strip())
            time.sleep(_PAUSE_SECONDS)
