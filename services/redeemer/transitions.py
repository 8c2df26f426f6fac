"""Every legal transition of a cheque and of a redemption, in one place.

Three facts make a cheque's state, each published by another party: `active` (the programme's rule lets it be spent:
from the start, or since an operator registered it), `blocked` (by the issuer) and `ending` (decided here: redeemed,
cancelled, expired). The database computes `state` from them, so news of different parties may come in any order.
"""

from shared.values.transitions import Transitions

# A cheque can be lost before an operator registered it, so `pending` can be blocked, and is what it was afterwards.
# A redemption that is reversed gives a blocked cheque where the issuer blocked it in the meantime.
CHEQUE = Transitions(
    pending="spendable blocked cancelled expired",
    spendable="redeemed blocked cancelled expired",
    redeemed="spendable blocked",
    blocked="spendable pending cancelled",
    cancelled="",
    expired="",
)

# `paid` ends it: money that has moved is a fact, whatever was reported before. News that come late change nothing.
REDEMPTION = Transitions(
    due="confirmed refused paid stranded",
    confirmed="refused paid stranded",
    refused="confirmed paid due",
    stranded="confirmed refused paid due",
    paid="",
)
