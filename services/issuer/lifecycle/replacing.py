"""Replacing cheques that were lost, stolen or damaged: the person gets new ones for what is left of the old.

A request blocks the old cheques at once and asks the redeemer to cancel them, as it alone knows whether one was spent.
Once one is cancelled, a new one of the same grant, envelope, value and validity is issued in the same transaction.
The money is never free in between, so a full or closed envelope is no obstacle and nothing is engaged twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import (
    CANCELLED,
    EXPIRED,
    REFUSED,
    REQUESTED,
    Cancellation,
    CancelledCheque,
    Cheque,
    ReplacedCheque,
    Replacement,
)
from services.issuer.funding import journal
from services.issuer.funding.models import ENGAGED
from services.issuer.grants import issuing
from services.issuer.grants.models import Grant
from services.issuer.lifecycle import blocking, cancelling, selection
from services.issuer.notices import outbox
from services.issuer.programmes.models import ON_ISSUE
from shared.database import engine
from shared.database.paging import page
from shared.eventlog import log
from shared.problems import Conflict, NotFound
from shared.values import clock

PENDING, REPLACED = "pending", "replaced"
OUTCOMES = (PENDING, REPLACED, REFUSED)

_ISSUE = sa.text("""
    UPDATE replaced_cheque SET issued_at = :now
    FROM unnest(CAST(:cancellation_id AS uuid[]), CAST(:cheque_id AS uuid[]), CAST(:day AS date[]))
             AS input (cancellation_id, cheque_id, cancelled_on),
         cheque JOIN cheque_grant ON cheque_grant.id = cheque.grant_id
    WHERE replaced_cheque.cancellation_id = input.cancellation_id AND replaced_cheque.old_cheque_id = input.cheque_id
      AND cheque.id = input.cheque_id AND cheque.ending = :cancelled AND replaced_cheque.issued_at IS NULL
      AND cheque_grant.presentable_until >= input.cancelled_on
    RETURNING old_cheque_id, new_cheque_id AS cheque_id, grant_id, cheque.value_cents, encode(digest, 'hex') AS digest
""")
_INSERT = sa.text("""
    INSERT INTO cheque (id, grant_id, envelope_id, value_cents, sealed_code, active)
    SELECT new_cheque_id, grant_id, envelope_id, value_cents, replaced_cheque.sealed_code,
           programme.spendable = :on_issue
    FROM replaced_cheque
    JOIN cheque ON cheque.id = old_cheque_id
    JOIN cheque_grant ON cheque_grant.id = grant_id
    JOIN programme ON programme.id = programme_id
    WHERE new_cheque_id = ANY(:ids)
""")
_REFUSED = sa.text("""
    SELECT cancellation_id, grant_id, prescriber_id, jsonb_agg(
               jsonb_build_object('cheque_id', cheque_id, 'reason', coalesce(cancellation_cheque.reason, :expired))
           ) AS cheques
    FROM cancellation_cheque
    JOIN replaced_cheque USING (cancellation_id)
    JOIN cheque ON cheque.id = cheque_id
    JOIN cheque_grant ON cheque_grant.id = grant_id
    WHERE cancellation_id = ANY(:ids) AND old_cheque_id = cheque_id AND outcome != :requested AND issued_at IS NULL
    GROUP BY cancellation_id, grant_id, prescriber_id
""")

_REQUESTS = sa.select(
    Cancellation.id.label("replacement_id"),
    Replacement.cause,
    Cancellation.reason,
    Cancellation.requested_by,
    Cancellation.requested_at,
).join(Replacement, Replacement.cancellation_id == Cancellation.id)
# What the redeemer cancelled after its last day has no new cheque: that is why it is refused.
_OUTCOME = sa.case(
    (CancelledCheque.outcome == REQUESTED, PENDING), (ReplacedCheque.issued_at.is_not(None), REPLACED), else_=REFUSED
)
_CHEQUES = (
    sa.select(
        CancelledCheque.cancellation_id,
        CancelledCheque.cheque_id,
        Cheque.grant_id,
        Cheque.value_cents,
        _OUTCOME.label("outcome"),
        sa.case((_OUTCOME == REFUSED, sa.func.coalesce(CancelledCheque.reason, EXPIRED))).label("reason"),
        sa.case((_OUTCOME == REPLACED, ReplacedCheque.new_cheque_id)).label("new_cheque_id"),
    )
    .join(Cheque, Cheque.id == CancelledCheque.cheque_id)
    .outerjoin(
        ReplacedCheque,
        (ReplacedCheque.cancellation_id == CancelledCheque.cancellation_id)
        & (ReplacedCheque.old_cheque_id == CancelledCheque.cheque_id),
    )
    .order_by(CancelledCheque.cheque_id)
)


def request(
    session: Session, codes: Codes, cheque_ids: Sequence[UUID], cause: str, reason: str, by: str, owner: UUID | None
) -> dict[str, Any]:
    """Blocks cheques and requests that they be replaced; those that have ended are refused at once.

    Raises NotFound where one is not the owner's, Conflict where none can be replaced.
    """
    found = selection.lock_own(session, cheque_ids, owner)
    refused = cancelling.refusals(session, found) | _expired(session, cheque_ids)
    refused |= blocking.of_closed_lots(session, cheque_ids)
    if len(refused) == len(found):
        raise _nothing_to_replace(session, refused)
    old_cheques = [cheque for cheque in found if cheque.id not in refused]
    blocking.block_locked(session, old_cheques, reason)
    cancellation_id = cancelling.record(session, found, refused, reason, by).cancellation.id
    session.add(Replacement(cancellation_id=cancellation_id, cause=cause))
    session.flush()
    session.add_all(_reserve(codes, cancellation_id, cheque) for cheque in old_cheques)
    session.flush()
    return find(session, cancellation_id, owner)


def _expired(session: Session, cheque_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The cheques whose last day is over, though the redeemer may not have published it yet."""
    query = sa.select(Cheque.id).join(Grant, Grant.id == Cheque.grant_id)
    query = query.where(engine.among(Cheque.id, cheque_ids), Grant.presentable_until < clock.today())
    return dict.fromkeys(session.scalars(query.where(Cheque.ending.is_(None))), EXPIRED)


def _nothing_to_replace(session: Session, refused: Mapping[UUID, str]) -> Conflict:
    """The refusals, with the earlier requests: whoever lost the first answer finds it."""
    query = sa.select(ReplacedCheque.cancellation_id).where(engine.among(ReplacedCheque.old_cheque_id, list(refused)))
    return Conflict(
        "None of these cheques can be replaced: see the reason of each, and what was asked before.",
        slug="nothing-to-replace",
        cheques=cancelling.refusal_details(refused),
        replacement_ids=sorted({str(replacement_id) for replacement_id in session.scalars(query)}),
    )


def _reserve(codes: Codes, cancellation_id: UUID, old: Cheque) -> ReplacedCheque:
    minted = codes.mint(old.value_cents, old.envelope_id, REQUESTED)
    return ReplacedCheque(
        cancellation_id=cancellation_id,
        old_cheque_id=old.id,
        new_cheque_id=minted.cheque_id,
        sealed_code=minted.sealed_code,
        digest=bytes.fromhex(minted.digest),
    )


def issue(session: Session, cancelled: Sequence[tuple[UUID, UUID, datetime]]) -> list[UUID]:
    """The new cheques of cancelled ones that are to be replaced, issued once, by set.

    `cancelled` names cancellations, one of their cheques, and when the redeemer cancelled it.
    """
    days = {cheque_id: clock.day_of(at) for _, cheque_id, at in cancelled}
    rows = [(cancellation_id, cheque_id, days[cheque_id]) for cancellation_id, cheque_id, _ in cancelled]
    arrays = engine.arrays(("cancellation_id", "cheque_id", "day"), rows)
    issued = session.execute(_ISSUE, {**arrays, "cancelled": CANCELLED, "now": clock.now()}).all()
    ids = [row.cheque_id for row in issued]
    if not ids:
        return ids
    session.execute(_INSERT, {"ids": ids, "on_issue": ON_ISSUE})
    _publish(session, issued)
    blocking.adopt(session, ids)
    journal.book(session, ENGAGED, [(row.cheque_id, days[row.old_cheque_id]) for row in issued])
    return ids


def _publish(session: Session, issued: Iterable[Any]) -> None:
    cheques = defaultdict(list)
    for row in issued:
        cheques[row.grant_id].append(row)
    grants = session.scalars(sa.select(Grant).where(engine.among(Grant.id, list(cheques))).order_by(Grant.id))
    bodies = [(grant.id, issuing.event_body(grant, cheques[grant.id])) for grant in grants]
    log.append_many(session, "cheques.issued", bodies)


def notify_refusals(session: Session, cancellation_ids: Iterable[UUID]) -> None:
    """Posts a notice to the prescriber of each grant whose cheques were not replaced after all."""
    params = {"ids": list(set(cancellation_ids)), "requested": REQUESTED, "expired": EXPIRED}
    drafts = [
        outbox.Draft(
            f"{row.cancellation_id}/{row.grant_id}",
            {"replacement_id": str(row.cancellation_id), "grant_id": str(row.grant_id), "cheques": row.cheques},
            row.grant_id,
            row.prescriber_id,
        )
        for row in session.execute(_REFUSED, params)
    ]
    outbox.post_all(session, "replacement.refused", drafts)


def find(session: Session, replacement_id: UUID, owner: UUID | None) -> dict[str, Any]:
    """A request for replacement; raises NotFound where there is none, or none of the owner's."""
    cancelling.find(session, replacement_id, owner)
    found = _with_cheques(session, [replacement_id])
    if not found:
        raise NotFound("There is no such request for replacement within your scope.")
    return found[0]


def find_with_codes(session: Session, codes: Codes, replacement_id: UUID, owner: UUID | None) -> dict[str, Any]:
    """The same, with the new cheques and their codes."""
    found = find(session, replacement_id, owner)
    new_ids = [cheque["new_cheque_id"] for cheque in found["cheques"] if cheque["new_cheque_id"]]
    revealed = {cheque.cheque_id: cheque for cheque in codes.of_cheques(session, new_ids)}
    for cheque in found["cheques"]:
        cheque["new_cheque"] = revealed.get(cheque["new_cheque_id"])
    return found


def find_page(session: Session, query: Mapping[str, Any], owner: UUID | None) -> dict[str, Any]:
    """A page of the requests for replacement of one prescriber, of one grant, or of all."""
    requests = sa.select(Replacement)
    columns = ((Grant.prescriber_id, owner), (Grant.id, query["grant_id"]))
    if conditions := [column == value for column, value in columns if value is not None]:
        cancellations = sa.select(CancelledCheque.cancellation_id).join(Cheque, Cheque.id == CancelledCheque.cheque_id)
        cancellations = cancellations.join(Grant, Grant.id == Cheque.grant_id).where(*conditions)
        requests = requests.where(Replacement.cancellation_id.in_(cancellations))
    found = page(session, requests, Replacement.cancellation_id, query["after"], query["limit"])
    return found | {"items": _with_cheques(session, [request.cancellation_id for request in found["items"]])}


def _with_cheques(session: Session, replacement_ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Requests in the order of their ids; one is pending until the redeemer has answered for all its cheques."""
    cheques = defaultdict(list)
    for row in session.execute(_CHEQUES.where(engine.among(CancelledCheque.cancellation_id, replacement_ids))):
        cheques[row.cancellation_id].append(row._asdict())
    requests = session.execute(
        _REQUESTS.where(engine.among(Cancellation.id, replacement_ids)).order_by(Cancellation.id)
    )
    return [
        {
            **row._mapping,
            "cheques": cheques[row.replacement_id],
            "pending": any(cheque["outcome"] == PENDING for cheque in cheques[row.replacement_id]),
        }
        for row in requests
    ]
