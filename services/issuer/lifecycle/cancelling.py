"""Cancelling: the issuer requests, the redeemer decides for each cheque, and the money goes back when it has."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import REFUSED, REQUESTED, Cancellation, CancelledCheque, Cheque
from services.issuer.grants.models import Grant
from services.issuer.lifecycle import selection
from shared.eventlog import log
from shared.problems import Conflict, NotFound
from shared.values.ids import new_id
from shared.values.money import euros


@dataclass(frozen=True, slots=True)
class Requested:
    """A cancellation and the line of each of its cheques."""

    cancellation: Cancellation
    cheques: Sequence[CancelledCheque]


def request(session: Session, cheque_ids: Sequence[UUID], reason: str, by: str, owner: UUID | None) -> Requested:
    """Requests the cancellation of cheques; those that ended, or have a pending request, are refused at once.

    Raises NotFound where one is not the owner's, Conflict where all are refused.
    """
    found = selection.lock_own(session, cheque_ids, owner)
    refused = refusals(session, found)
    if len(refused) == len(found):
        raise Conflict(
            "None of these cheques can be cancelled.", slug="nothing-to-cancel", cheques=refusal_details(refused)
        )
    return record(session, found, refused, reason, by)


def refusals(session: Session, found: Sequence[Cheque]) -> dict[UUID, str]:
    """Why some of these locked cheques cannot be cancelled: they ended, or a request is pending."""
    query = sa.select(CancelledCheque.cheque_id).where(CancelledCheque.outcome == REQUESTED)
    in_hand = set(session.scalars(query.where(CancelledCheque.cheque_id.in_([cheque.id for cheque in found]))))
    reasons = {cheque.id: cheque.ending or ("cancellation-in-hand" if cheque.id in in_hand else "") for cheque in found}
    return {cheque_id: reason for cheque_id, reason in reasons.items() if reason}


def refusal_details(refused: Mapping[UUID, str]) -> list[dict[str, str]]:
    """Refusals as a problem lists them, by cheque."""
    return [{"cheque_id": str(cheque_id), "reason": reason} for cheque_id, reason in sorted(refused.items())]


def record(session: Session, found: Iterable[Cheque], refused: Mapping[UUID, str], reason: str, by: str) -> Requested:
    """Requests all but the refused ones, at least one, and stores a line for each."""
    cancellation = Cancellation(id=new_id(), reason=reason, requested_by=by)
    session.add(cancellation)
    session.flush()
    lines = [
        CancelledCheque(
            cancellation_id=cancellation.id,
            cheque_id=cheque.id,
            outcome=REFUSED if cheque.id in refused else REQUESTED,
            reason=refused.get(cheque.id),
        )
        for cheque in found
    ]
    session.add_all(lines)
    requested = [line.cheque_id for line in lines if line.outcome == REQUESTED]
    body = {"cancellation_id": cancellation.id, "cheque_ids": requested, "reason": reason}
    log.append(session, "cancellation.requested", cancellation.id, body)
    return Requested(cancellation, lines)


def of_grant(session: Session, grant_id: UUID, owner: UUID | None) -> list[UUID]:
    """The cheques of a grant; raises NotFound where there is none, or none of the owner's."""
    query = sa.select(Cheque.id).join(Grant, Grant.id == Cheque.grant_id).where(Grant.id == grant_id)
    found = list(session.scalars(query if owner is None else query.where(Grant.prescriber_id == owner)))
    if not found:
        raise NotFound("There is no such grant within your scope.")
    return found


def worth(session: Session, grant_id: UUID, amount_cents: int, owner: UUID | None) -> list[UUID]:
    """Cheques of a grant that are worth this together and can still be cancelled, the youngest ones.

    Raises NotFound, or Conflict where no such cheques add up to this amount.
    """
    found = selection.lock_own(session, of_grant(session, grant_id, owner), owner)
    refused = refusals(session, found)
    free = [cheque for cheque in reversed(found) if cheque.id not in refused]
    chosen = adding_up(free, amount_cents)
    if chosen is None:
        values = [cheque.value_cents for cheque in free]
        left = f"{euros(sum(values))} are left, in {len(free)} cheques."
        raise Conflict(
            f"No cheques of the grant come to {euros(amount_cents)}: {left}",
            slug="amount-not-divisible",
            available_cents=sum(values),
            values_cents=sorted(set(values)),
        )
    return chosen


def adding_up(free: Iterable[Cheque], amount_cents: int) -> list[UUID] | None:
    """The first of these cheques that add up to this amount exactly; None where none do."""
    reached: dict[int, tuple[UUID, ...]] = {0: ()}
    for cheque in free:
        for cents, chosen in list(reached.items()):
            total = cents + cheque.value_cents
            if total <= amount_cents and total not in reached:
                reached[total] = (*chosen, cheque.id)
        if amount_cents in reached:
            return list(reached[amount_cents])
    return None


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
