"""The audit trails: each service's hash chain, computed again from its first entry."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from shared.audit import hash_chain
from shared.audit.hash_chain import Anchor, Broken


def check(engines: Mapping[str, sa.Engine], anchors: Sequence[Anchor]) -> list[Anchor]:
    """The heads of all chains, computed again after waiting entries were chained.

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
