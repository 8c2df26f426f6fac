"""Every legal transition of a contract, a link, an order and a redemption as the bridge sees it, in one table."""

from shared.values.transitions import Transitions

CONTRACT = Transitions(draft="live", live="draining failed", draining="ended failed", ended="", failed="")

# What an operator refused, a person may request again; it stays refused until it is accepted.
LINK = Transitions(
    wanted="registered refused closed stranded",
    registered="closed stranded",
    refused="wanted",
    closed="",
    stranded="",
)

# An order that went back to `pending` may yet be settled by a late answer to its first sending; before its cheque is
# moved to another operator it is `unknown` once more. One that was accepted is sent again, under its own reference,
# where the statement shows that the operator has lost what it did.
ORDER = Transitions(
    pending="sent held accepted refused unknown",
    held="pending accepted refused unknown",
    sent="accepted refused unknown pending",
    unknown="accepted refused pending",
    accepted="pending",
    refused="",
)

# The redeemer decides: what it reverses while the report of the payment is on its way was paid and is reversed.
# Money that has moved is a fact, even where the operator was taken for dead.
REDEMPTION = Transitions(
    due="confirmed paid refused reversed stranded",
    confirmed="paid refused reversed stranded",
    stranded="due paid reversed",
    refused="due confirmed reversed",
    paid="reversed",
    reversed="",
)

# The accountant's payment, as the redeemer reports it, ends a redemption, whatever an operator made of it before.
PAID_BY_ACCOUNTANT = ("confirmed", "due", "refused", "stranded")

DISCREPANCY = Transitions(waiting="settling resolved", settling="waiting resolved", resolved="waiting")

UNFINISHED = tuple(state for state, following in ORDER.items() if "accepted" in following)
"""States of an order that the operator has still to settle."""

UNSENT = ("pending", "held")
"""States of an order that waits to be sent."""

WORKING = ("live", "draining")
"""States of a contract under which orders are sent."""
