"""The mirror of the operators' contracts: an affiliation is to one of them and goes over to its successor."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.structures import affiliations
from services.redeemer.structures.models import Contract
from shared.eventlog.event_kinds import ContractChanged
from shared.process.recovery import PAGE_SIZE


def mirror(session: Session, contracts: Sequence[ContractChanged]) -> None:
    """Keeps contracts as the bodies of their `contract.changed` say, the last word on each.

    Who is affiliated to a contract that another one succeeds is affiliated to that one too from then on.
    """
    last = {contract.contract_id: contract for contract in contracts}
    columns = [column.key for column in Contract.__table__.columns]
    given = pg.insert(Contract)
    changes = {name: given.excluded[name] for name in columns if name != "id"}
    rows = [{**msgspec.structs.asdict(contract), "id": contract_id} for contract_id, contract in last.items()]
    rows = [{name: row[name] for name in columns} for row in rows]
    session.execute(given.on_conflict_do_update(index_elements=["id"], set_=changes), rows)
    for contract in last.values():
        if contract.succeeds:
            affiliations.carry_over(session, contract.succeeds, contract.contract_id)


def contracts(session: Session, after: UUID) -> list[Contract]:
    """A page of the contracts that the bridge told of."""
    query = sa.select(Contract).where(Contract.id > after).order_by(Contract.id).limit(PAGE_SIZE)
    return list(session.scalars(query))
