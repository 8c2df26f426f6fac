"""Cancelling: the issuer asks, the redeemer decides for each cheque, and the money goes back when it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer import cheques
from services.issuer.models import REFUSED, REQUESTED, Cancellation, CancelledCheque, Cheque, Grant
from shared import events
from shared.ids import new_id
from shared.problems import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class Requested:
    """A cancellation and what is known of each of its cheques."""

    cancellation: Cancellation
    cheques: Sequence[CancelledCheque]


def request(session: Session, cheque_ids: Sequence[UUID], reason: str, by: str, owner: UUID | None) -> Requested:
    """Asks that cheques be cancelled; those that ended, or of which it was asked before, are refused at once.

    Raises NotFound where one is not the owner's, Conflict where there is nothing to ask.
    """
    found = cheques.own(session, cheque_ids, owner)
    asked = _asked(session, [cheque.id for cheque in found])
    lines = [_line(cheque, cheque.id in asked) for cheque in found]
    wanted = [line.cheque_id for line in lines if line.outcome == REQUESTED]
    if not wanted:
        refusals = [{"cheque_id": str(line.cheque_id), "reason": line.reason} for line in lines]
        raise Conflict("None of these cheques can be cancelled.", slug="nothing-to-cancel", cheques=refusals)
    cancellation = Cancellation(id=new_id(), reason=reason, requested_by=by)
    session.add(cancellation)
    session.flush()
    for line in lines:
        line.cancellation_id = cancellation.id
    session.add_all(lines)
    body = {"cancellation_id": cancellation.id, "cheque_ids": wanted, "reason": reason}
    events.append(session, "cancellation.requested", cancellation.id, body)
    return Requested(cancellation, lines)


def of_grant(session: Session, grant_id: UUID, owner: UUID | None) -> list[UUID]:
    """The cheques of a grant; raises NotFound where there is none, or none of the owner's."""
    query = sa.select(Cheque.id).join(Grant, Grant.id == Cheque.grant_id).where(Grant.id == grant_id)
    found = list(session.scalars(query if owner is None else query.where(Grant.prescriber_id == owner)))
    if not found:
        raise NotFound("There is no such grant within your scope.")
    return found


def find(session: Session, cancellation_id: UUID, owner: UUID | None) -> Requested:
    """A cancellation as it stands; raises NotFound where there is none, or none of the owner's."""
    cancellation = session.get(Cancellation, cancellation_id)
    query = (
        sa.select(CancelledCheque, Grant.prescriber_id)
        .join(Cheque, Cheque.id == CancelledCheque.cheque_id)
        .join(Grant, Grant.id == Cheque.grant_id)
        .where(CancelledCheque.cancellation_id == cancellation_id)
        .order_by(CancelledCheque.cheque_id)
    )
    rows = session.execute(query).all()
    if cancellation is None or (owner is not None and any(row.prescriber_id != owner for row in rows)):
        raise NotFound("There is no such cancellation within your scope.")
    return Requested(cancellation, [row.CancelledCheque for row in rows])


def _asked(session: Session, cheque_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these cheques whose cancellation is asked for and not yet answered."""
    query = sa.select(CancelledCheque.cheque_id).where(
        CancelledCheque.cheque_id.in_(cheque_ids), CancelledCheque.outcome == REQUESTED
    )
    return set(session.scalars(query))


def _line(cheque: Cheque, asked: bool) -> CancelledCheque:
    reason = cheque.ending or ("cancellation-in-hand" if asked else None)
    return CancelledCheque(cheque_id=cheque.id, outcome=REFUSED if reason else REQUESTED, reason=reason)
