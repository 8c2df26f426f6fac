"""What the redeemer and the operator bridge tell of cheques, applied to the mirror by set.

The redeemer is believed whatever the mirror says: it alone judges. Its news of one cheque come in order. The bridge's
come at any time before or after, so each party's news touch a column of their own (`models.STATE` puts them together).
The issuer made every cheque, so none is unknown here and no event has to wait.
"""

from collections.abc import Mapping

from services.issuer.booklets import nearby
from services.issuer.lifecycle import redemptions
from services.issuer.lifecycle.mirror import cancellation_refused, cancelled, expired, redeemed, registered, reversed_
from shared.eventlog.consumer import Handler

HANDLERS: Mapping[str, Handler] = {
    "cheques.registered": registered,
    "cheques.redeemed": redeemed,
    "redemption.reversed": reversed_,
    "redemptions.paid": redemptions.paid,
    "redemptions.unpaid": redemptions.unpaid,
    "cheques.cancelled": cancelled,
    "cancellation.refused": cancellation_refused,
    "cheques.expired": expired,
    **nearby.HANDLERS,
}
