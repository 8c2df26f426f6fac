"""The handlers of the redeemer's and the bridge's events, which are applied to the mirror by set.

The redeemer alone judges: its events hold whatever the mirror has, and those of one cheque come in order. The bridge's
come at any time before or after, so each writes columns of its own (`cheques.models.STATE` puts them together). The
issuer made every cheque, so none is unknown here and no event has to wait.
"""

from collections.abc import Mapping

from services.issuer.booklets import nearby
from services.issuer.lifecycle import mirror
from shared.eventlog.consumer import Handler

HANDLERS: Mapping[str, Handler] = {
    "cheques.registered": mirror.registered,
    "cheques.redeemed": mirror.redeemed,
    "redemption.reversed": mirror.reversed_,
    "redemptions.paid": mirror.paid,
    "redemptions.unpaid": mirror.unpaid,
    "cheques.cancelled": mirror.cancelled,
    "cancellation.refused": mirror.cancellation_refused,
    "cheques.expired": mirror.expired,
    **nearby.HANDLERS,
}
