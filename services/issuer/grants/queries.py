"""Reads of grants and their cheques; `owner` is the prescriber who asks, None for callers who may see all."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques import replaced
from services.issuer.cheques.models import Cheque
from services.issuer.funding.models import Charge, Envelope
from services.issuer.grants.models import Grant, Lot
from services.issuer.programmes.models import Programme
from shared.problems import NotFound


def grants(
    owner: UUID | None, programme: str | None, *, exceptional: bool | None = None, lot: str | None = None
) -> sa.Select[Any]:
    """The query of the owner's grants, of one programme or of all; only those beyond, or within, a person's limit."""
    query = sa.select(Grant)
    if exceptional is not None:
        query = query.where(Grant.exception_reason.is_not(None) == exceptional)
    if owner is not None:
        query = query.where(Grant.prescriber_id == owner)
    if lot is not None:
        query = query.where(Grant.lot_id.in_(sa.select(Lot.id).where(Lot.code == lot)))
    return query.join(Programme).where(Programme.code == programme) if programme else query


def grant(session: Session, grant_id: UUID, owner: UUID | None) -> Grant:
    """A grant; raises NotFound where there is none, or none of the owner's."""
    found = session.get(Grant, grant_id)
    if found is None or owner not in (None, found.prescriber_id):
        raise NotFound("There is no such grant within your scope.")
    return found


def cheques(session: Session, grant_id: UUID) -> Sequence[Cheque]:
    """The cheques of a grant."""
    return session.scalars(sa.select(Cheque).where(Cheque.grant_id == grant_id).order_by(Cheque.id)).all()


def charges(session: Session, grant_id: UUID) -> Sequence[Any]:
    """The envelopes that pay for a grant: number of cheques, cents and reason of each."""
    query = (
        sa.select(
            Charge.envelope_id,
            Envelope.funder,
            Envelope.convention_reference,
            Charge.number,
            Charge.cents,
            Charge.why,
        )
        .join(Envelope, Envelope.id == Charge.envelope_id)
        .where(Charge.grant_id == grant_id)
        .order_by(Envelope.priority, Envelope.id)
    )
    return session.execute(query).all()


def explained(session: Session, grant_id: UUID, charged: Sequence[Any]) -> list[dict[str, Any]]:
    """The cheques of a grant, each with the reason for which it is charged to its envelope."""
    why = {charge.envelope_id: charge.why for charge in charged}
    links = replaced.links(session, grant_id)
    return [
        {
            "id": cheque.id,
            "value_cents": cheque.value_cents,
            "envelope_id": cheque.envelope_id,
            "state": cheque.state,
            "why": why[cheque.envelope_id],
            "replaces": None,
            "replaced_by": None,
            **links.get(cheque.id, {}),
        }
        for cheque in cheques(session, grant_id)
    ]
