"""Reads of grants and their cheques; `owner` is a prescriber, None for callers who may see all."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from services.issuer.cheques.models import Cheque, ReplacedCheque
from services.issuer.funding.models import Charge, Envelope
from services.issuer.grants.models import Grant, Lot
from services.issuer.programmes.models import Programme
from shared.database import paging
from shared.problems import NotFound


def select(owner: UUID | None, query: Mapping[str, Any]) -> sa.Select[Any]:
    """The owner's grants, of the `programme` and `lot` of a query."""
    grants = sa.select(Grant)
    if owner is not None:
        grants = grants.where(Grant.prescriber_id == owner)
    if query["lot"] is not None:
        grants = grants.where(Grant.lot_id.in_(sa.select(Lot.id).where(Lot.code == query["lot"])))
    if query["programme"]:
        grants = grants.join(Programme).where(Programme.code == query["programme"])
    return grants


def page(session: Session, owner: UUID | None, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the owner's grants, of the `programme` and `lot` of a query, `exceptional` or not."""
    grants = select(owner, query)
    if query["exceptional"] is not None:
        grants = grants.where(Grant.exception_reason.is_not(None) == query["exceptional"])
    return paging.page(session, grants, Grant.id, query["after"], query["limit"])


def grant(session: Session, grant_id: UUID, owner: UUID | None) -> Grant:
    """A grant; raises NotFound where there is none, or none of the owner's."""
    found = session.get(Grant, grant_id)
    if found is None or owner not in (None, found.prescriber_id):
        raise NotFound("There is no such grant within your scope.")
    return found


def charges(session: Session, grant_id: UUID) -> Sequence[Any]:
    """The envelopes that pay for a grant: number of cheques, cents and reason of each."""
    query = (
        sa.select(Charge.__table__, Envelope.funder, Envelope.convention_reference)
        .join(Envelope, Envelope.id == Charge.envelope_id)
        .where(Charge.grant_id == grant_id)
        .order_by(Envelope.priority, Envelope.id)
    )
    return session.execute(query).all()


def cheques(session: Session, grant_id: UUID) -> Sequence[Any]:
    """The cheques of a grant, each with why it is charged to its envelope and which cheque replaces which."""
    old, new = aliased(ReplacedCheque), aliased(ReplacedCheque)
    columns = (Cheque.id, Cheque.value_cents, Cheque.envelope_id, Cheque.state, Charge.why)
    query = (
        sa.select(*columns, old.old_cheque_id.label("replaces"), new.new_cheque_id.label("replaced_by"))
        .join(Charge, sa.and_(Charge.grant_id == Cheque.grant_id, Charge.envelope_id == Cheque.envelope_id))
        .outerjoin(old, sa.and_(old.new_cheque_id == Cheque.id, old.issued_at.is_not(None)))
        .outerjoin(new, sa.and_(new.old_cheque_id == Cheque.id, new.issued_at.is_not(None)))
        .where(Cheque.grant_id == grant_id)
        .order_by(Cheque.id)
    )
    return session.execute(query).all()
