"""Grants and their cheques, to look at; `owner` is the prescriber who asks, None for those who may see all."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.models import Cheque, Grant, Programme
from shared.problems import NotFound


def grants(owner: UUID | None, programme: str | None) -> sa.Select[Any]:
    """The query of the owner's grants, of one programme or of all."""
    query = sa.select(Grant)
    if owner is not None:
        query = query.where(Grant.prescriber_id == owner)
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
