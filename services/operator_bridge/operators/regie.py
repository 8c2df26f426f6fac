"""The régie: no outside party, the département's own cashier (régie d'avances et de recettes) pays the structures.

There is nothing to call and nobody to disagree with: what is ordered is accepted as soon as it is ordered, the list
of what is due to whom is our own register's, and there is no statement beside it to compare with. It understands every
order, sends no messages and takes no cheque itself, so it needs no code. It has no settings.

It gives continuity between two operators, and serves a département that never had one.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from services.operator_bridge.interface import Operator, Order, Receipt


class Adapter(Operator):
    name = "Régie départementale"
    needs_codes = False
    paid_by_accountant = True
    has_statement = False
    statement_lag = timedelta(0)
    batch_size = 1000
    rate = 100.0

    def push(self, orders: Sequence[Order]) -> Iterator[Receipt]:
        return (Receipt(order.reference, "accepted") for order in orders)
