"""`souche operator orders`, `retry` and `settle`: what is sent to operators."""

from itertools import islice

import click

from souche.commands.operator.bridge import client, show

ORDER_COLUMNS = ("order_id", "kind", "state", "reason", "attempts", "created_at", "settled_at")


@click.command()
@click.option("--state", help="Only orders in this state, such as unknown or refused.")
@click.option("--kind", help="Only orders of this kind, such as register or declare.")
@click.option("--stuck", is_flag=True, help="Only orders that are no longer sent, as too many attempts got no answer.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def orders(state: str | None, kind: str | None, stuck: bool, limit: int) -> None:
    """List the orders to operators, oldest first."""
    found = client().pages("/v1/orders", state=state, kind=kind, stuck="true" if stuck else None)
    show(ORDER_COLUMNS, list(islice(found, limit)))


@click.command()
@click.argument("order", required=False)
@click.option("--all-stuck", is_flag=True, help="All orders whose attempts got no answer too often, instead of one.")
@click.option("--note", required=True, help="Why it may be sent again; kept with the order.")
def retry(order: str | None, all_stuck: bool, note: str) -> None:
    """Send ORDER (its id) again: one without an outcome, or a registration or declaration that was refused.

    An order without an outcome goes out under the reference that the operator knows, so nothing is done twice.
    """
    if bool(order) == all_stuck:
        raise click.UsageError("Name an order, or say --all-stuck.")
    bridge = client()
    if all_stuck:
        done = bridge.post("/v1/orders/retries", json={"note": note})
        click.echo(f"{done['retried']} orders are sent again")
    else:
        again = bridge.post(f"/v1/orders/{order}/retry", json={"note": note})
        click.echo(f"{again['kind']} is sent again as {again['order_id']}")


@click.command()
@click.argument("order")
@click.option("--done/--not-done", required=True, help="Whether the operator did it.")
@click.option("--note", required=True, help="How you know it; kept with the order.")
def settle(order: str, done: bool, note: str) -> None:
    """Record the outcome of ORDER (its id), which is unknown, after asking the operator by other means."""
    settled = client().post(f"/v1/orders/{order}/outcome", json={"done": done, "note": note})
    click.echo(f"{settled['kind']} is {settled['state']}")
