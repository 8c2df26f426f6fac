"""What `souche verify` holds against the audit trails: each service's chain, computed again from its first entry."""

from collections.abc import Mapping, Sequence

import click
import sqlalchemy as sa

from shared.audit import hash_chain
from shared.audit.hash_chain import Anchor, Broken
from shared.settings.settings import SERVICES


class AnchorType(click.ParamType[Anchor]):
    """An anchor as an earlier run printed it."""

    name = "service:position:hash"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Anchor:
        if isinstance(value, Anchor):
            return value
        try:
            anchor = Anchor.read(str(value))
        except ValueError:
            self.fail(f"{value!r} is no anchor: expected {self.name}, as `souche verify` prints it.", param, ctx)
        if anchor.service not in SERVICES:
            self.fail(f"There is no service {anchor.service!r}: expected one of {', '.join(SERVICES)}.", param, ctx)
        return anchor


def check(engines: Mapping[str, sa.Engine], anchors: Sequence[Anchor]) -> list[Anchor]:
    """Chains what waits, computes every chain again and gives their heads.

    Raises Broken, which names the service and the first entry that does not fit.
    """
    heads = []
    for service, engine in engines.items():
        hash_chain.chain(engine, service)
        try:
            heads.append(hash_chain.verify(engine, service, anchors))
        except Broken as broken:
            raise Broken(f"{service}: {broken}") from None
    return heads


def show(heads: Sequence[Anchor]) -> None:
    """Prints the heads, to be kept where who can write to the database cannot."""
    click.echo("The audit trails are whole. Keep these lines elsewhere; a later run takes each as --anchor:")
    for head in heads:
        click.echo(f"  {head}")
