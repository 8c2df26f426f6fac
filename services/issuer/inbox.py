"""The handlers of the redeemer's and the bridge's events, which are applied to the mirror by set.

The redeemer alone decides: its events replace the mirror's state, and those of one cheque arrive in order. The bridge's
arrive at any time before or after, so each writes columns of its own (`cheques.models.STATE` combines them). The issuer
made every cheque, so none is unknown here and no event has to wait.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.issuer.booklets import nearby
from services.issuer.funding import envelopes
from services.issuer.lifecycle import mirror
from shared.eventlog.consumer import PAGE_END, Handler


def _release(session: Session, results: Sequence[Any]) -> None:
    """Gives back the money that a page of news freed, once all of it is applied: envelopes are locked last."""
    envelopes.release(session, [freed for freed in results if isinstance(freed, envelopes.Freed)])


HANDLERS: Mapping[str, Handler] = {
    "cheques.registered": mirror.registered,
    "cheques.redeemed": mirror.redeemed,
    "redemption.reversed": mirror.reversed_,
    "redemptions.paid": mirror.paid,
    "redemptions.unpaid": mirror.unpaid,
    "cheques.cancelled": mirror.cancelled,
    "cancellation.refused": mirror.cancellation_refused,
    "cheques.expired": mirror.expired,
    "structure.affiliated": nearby.affiliated,
    "structure.described": nearby.described,
    "structure.suspended": nearby.suspended,
    "contract.changed": nearby.contract_changed,
    PAGE_END: _release,
}
