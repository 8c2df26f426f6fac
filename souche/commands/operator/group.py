"""`souche operator`: the contracts with operators, the orders sent to them, their statements, and switching."""

import click

from souche.commands.operator import contracts, orders, switch


@click.group()
def operator() -> None:
    """See contracts with operators and the orders sent to them; read and compare their statements.

    Speaks with the operator bridge. Takes SOUCHE_TOKEN, or makes a token with TOKEN_PRIVATE_KEY.
    """


for command in (
    contracts.list_operators,
    contracts.contracts,
    contracts.draft,
    contracts.state,
    contracts.hold,
    contracts.release,
    contracts.activate,
    contracts.adopt,
    contracts.poll,
    contracts.compare,
    orders.orders,
    orders.retry,
    orders.settle,
    switch.switch,
    switch.claims_of,
    switch.accept,
):
    operator.add_command(command)
