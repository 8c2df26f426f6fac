"""Replacing cheques that were lost, stolen or damaged: the person gets new ones for what is left of the old.

Asking blocks the old cheques, here and at once, and asks the redeemer to cancel them. The redeemer alone knows whether
one was spent. Where it says that an old cheque is cancelled, the new one comes into being in the same transaction:
same grant, same envelope, same value, same validity. The money of the old one is never free in between, so a full or
a closed envelope is no obstacle and nothing is engaged twice. Where the old one was spent or is over, there is no new
one, and the reason is shown.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.codes import Codes, Revealed
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
from services.issuer.funding import envelopes, journal
from services.issuer.funding.models import ENGAGED
from services.issuer.grants import issuing
from services.issuer.grants.models import Grant
from services.issuer.lifecycle import blocking, cancelling, selection, suspending
from services.issuer.notices import outbox
from services.issuer.programmes.models import ON_ISSUE
from shared.database import engine
from shared.eventlog import log
from shared.problems import Conflict, NotFound
from shared.values import clock

PENDING, REPLACED = "pending", "replaced"
OUTCOMES = (PENDING, REPLACED, REFUSED)

Cancelled = tuple[UUID, UUID, datetime]
"""A cancellation, one of its cheques, and when the redeemer cancelled it."""


@dataclass(frozen=True, slots=True)
class Line:
    """What came of the request for one cheque: `new_cheque_id` where it was replaced, `reason` where it was not."""

    cheque_id: UUID
    grant_id: UUID
    value_cents: int
    outcome: str
    reason: str | None
    new_cheque_id: UUID | None
    new_cheque: Revealed | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A request for replacement as it stands."""

    replacement: Replacement
    cancellation: Cancellation
    cheques: Sequence[Line]

    @property
    def pending(self) -> bool:
        """Whether the redeemer has still to answer for some of the cheques."""
        return any(line.outcome == PENDING for line in self.cheques)


@dataclass(frozen=True, slots=True)
class Made:
    """A new cheque as the event of its issue tells it."""

    cheque_id: UUID
    digest: str
    value_cents: int


def request(
    session: Session, codes: Codes, cheque_ids: Sequence[UUID], cause: str, reason: str, by: str, owner: UUID | None
) -> Shown:
    """Blocks cheques at once and asks that they be replaced; those that have ended are refused at once.

    Raises NotFound where one is not the owner's, Conflict where none can be replaced.
    """
    found = selection.lock_own(session, cheque_ids, owner)
    refused = cancelling.refusals(session, found) | _over(session, found) | suspending.closed_of(session, cheque_ids)
    if len(refused) == len(found):
        raise _nothing(session, refused)
    wanted = [cheque for cheque in found if cheque.id not in refused]
    blocking.block_locked(session, wanted, reason)
    cancellation = cancelling.record(session, found, refused, reason, by).cancellation
    session.add(Replacement(cancellation_id=cancellation.id, cause=cause))
    session.flush()
    session.add_all(_reserve(codes, cancellation.id, cheque) for cheque in wanted)
    session.flush()
    return find(session, cancellation.id, owner)


def _nothing(session: Session, refused: Mapping[UUID, str]) -> Conflict:
    """Why, and where to look for what was asked before: whoever lost the first answer finds it."""
    query = sa.select(ReplacedCheque.cancellation_id).where(engine.among(ReplacedCheque.old_cheque_id, list(refused)))
    return Conflict(
        "None of these cheques can be replaced: see the reason of each, and what was asked before.",
        slug="nothing-to-replace",
        cheques=cancelling.refusal_details(refused),
        replacement_ids=sorted({str(replacement_id) for replacement_id in session.scalars(query)}),
    )


def _over(session: Session, found: Iterable[Cheque]) -> dict[UUID, str]:
    """The cheques that nobody can present any more, though the redeemer may not have said so yet."""
    grants = {cheque.grant_id for cheque in found}
    query = sa.select(Grant.id).where(engine.among(Grant.id, grants), Grant.presentable_until < clock.today())
    over = set(session.scalars(query))
    return {cheque.id: EXPIRED for cheque in found if cheque.grant_id in over and not cheque.ending}


def _reserve(codes: Codes, cancellation_id: UUID, old: Cheque) -> ReplacedCheque:
    minted = codes.mint(old.value_cents, old.envelope_id, REQUESTED)
    return ReplacedCheque(
        cancellation_id=cancellation_id,
        old_cheque_id=old.id,
        new_cheque_id=minted.cheque_id,
        sealed_code=minted.sealed_code,
        digest=bytes.fromhex(minted.digest),
    )


_ISSUABLE = sa.text("""
    UPDATE replaced_cheque SET issued_at = :now
    FROM unnest(CAST(:cancellations AS uuid[]), CAST(:cheques AS uuid[]), CAST(:days AS date[]))
             AS given (cancellation_id, cheque_id, cancelled_on),
         cheque JOIN cheque_grant ON cheque_grant.id = cheque.grant_id
    WHERE replaced_cheque.cancellation_id = given.cancellation_id AND replaced_cheque.old_cheque_id = given.cheque_id
      AND cheque.id = given.cheque_id AND cheque.ending = :cancelled AND replaced_cheque.issued_at IS NULL
      AND cheque_grant.presentable_until >= given.cancelled_on
    RETURNING old_cheque_id, new_cheque_id, cheque_grant.id AS grant_id, envelope_id, cheque.value_cents, digest
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


def replace(session: Session, cancelled: Sequence[Cancelled]) -> list[UUID]:
    """Issues the new cheques for those of these cancelled ones that are to be replaced, once each, by set."""
    days = {cheque_id: clock.day_of(at) for _, cheque_id, at in cancelled}
    given = {
        "cancellations": [cancellation_id for cancellation_id, _, _ in cancelled],
        "cheques": [cheque_id for _, cheque_id, _ in cancelled],
        "days": [days[cheque_id] for _, cheque_id, _ in cancelled],
        "cancelled": CANCELLED,
        "now": clock.now(),
    }
    made = session.execute(_ISSUABLE, given).all()
    ids = [row.new_cheque_id for row in made]
    if ids:
        session.execute(_INSERT, {"ids": ids, "on_issue": ON_ISSUE})
        _tell(session, made)
        suspending.adopt(session, ids)
        journal.book(session, ENGAGED, [(row.new_cheque_id, days[row.old_cheque_id]) for row in made])
        envelopes.retain(session, ids)
    return ids


def _tell(session: Session, made: Sequence[Any]) -> None:
    grouped = groupby(sorted(made, key=lambda row: row.grant_id), key=lambda row: row.grant_id)
    lines = {grant_id: [Made(row.new_cheque_id, row.digest.hex(), row.value_cents) for row in rows]
             for grant_id, rows in grouped}  # fmt: skip
    grants = session.scalars(sa.select(Grant).where(engine.among(Grant.id, list(lines))).order_by(Grant.id))
    log.append_many(
        session, "cheques.issued", [(grant.id, issuing.event_body(grant, lines[grant.id])) for grant in grants]
    )


_REFUSALS = (
    sa.select(
        CancelledCheque.cancellation_id, Grant.id.label("grant_id"), Grant.prescriber_id,
        sa.func.array_agg(CancelledCheque.cheque_id).label("cheque_ids"),
        sa.func.array_agg(sa.func.coalesce(CancelledCheque.reason, EXPIRED)).label("reasons"),
    )
    .join(ReplacedCheque, (ReplacedCheque.cancellation_id == CancelledCheque.cancellation_id)
          & (ReplacedCheque.old_cheque_id == CancelledCheque.cheque_id))
    .join(Cheque, Cheque.id == CancelledCheque.cheque_id)
    .join(Grant, Grant.id == Cheque.grant_id)
    .where(CancelledCheque.outcome != REQUESTED, ReplacedCheque.issued_at.is_(None))
    .group_by(CancelledCheque.cancellation_id, Grant.id, Grant.prescriber_id)
)  # fmt: skip


def tell_refusals(session: Session, cancellation_ids: Iterable[UUID]) -> None:
    """Posts a notice to the prescriber of each grant of which cheques were not replaced after all."""
    query = _REFUSALS.where(engine.among(CancelledCheque.cancellation_id, set(cancellation_ids)))
    drafts = [
        outbox.Draft(
            f"{row.cancellation_id}/{row.grant_id}",
            {
                "replacement_id": str(row.cancellation_id),
                "grant_id": str(row.grant_id),
                "cheques": [
                    {"cheque_id": str(cheque_id), "reason": reason}
                    for cheque_id, reason in zip(row.cheque_ids, row.reasons, strict=True)
                ],
            },
            row.grant_id,
            row.prescriber_id,
        )
        for row in session.execute(query)
    ]
    outbox.post_all(session, "replacement.refused", drafts)


def find(session: Session, replacement_id: UUID, owner: UUID | None) -> Shown:
    """A request for replacement as it stands; raises NotFound where there is none, or none of the owner's."""
    cancelling.find(session, replacement_id, owner)
    found = shown(session, [replacement_id])
    if not found:
        raise NotFound("There is no such request for replacement within your scope.")
    return found[0]


def with_codes(session: Session, codes: Codes, replacement_id: UUID, owner: UUID | None) -> Shown:
    """The same, with the new cheques and their codes."""
    found = find(session, replacement_id, owner)
    new = [line.new_cheque_id for line in found.cheques if line.new_cheque_id]
    revealed = {cheque.cheque_id: cheque for cheque in codes.of_cheques(session, new)}
    lines = [line if line.new_cheque_id is None else dataclasses.replace(line, new_cheque=revealed[line.new_cheque_id])
             for line in found.cheques]  # fmt: skip
    return dataclasses.replace(found, cheques=lines)


def shown(session: Session, replacement_ids: Sequence[UUID]) -> list[Shown]:
    """Requests for replacement as they stand, in the order of their ids."""
    heads = (
        sa.select(Replacement, Cancellation)
        .join(Cancellation, Cancellation.id == Replacement.cancellation_id)
        .where(engine.among(Replacement.cancellation_id, replacement_ids))
        .order_by(Replacement.cancellation_id)
    )
    lines: dict[UUID, list[Line]] = {replacement_id: [] for replacement_id in replacement_ids}
    query = _LINES.where(engine.among(CancelledCheque.cancellation_id, replacement_ids))
    for row in session.execute(query.execution_options(populate_existing=True)):
        lines[row.CancelledCheque.cancellation_id].append(_line(*row))
    return [Shown(head, asked, lines[asked.id]) for head, asked in session.execute(heads)]


_LINES = (
    sa.select(CancelledCheque, Cheque.grant_id, Cheque.value_cents, ReplacedCheque)
    .join(Cheque, Cheque.id == CancelledCheque.cheque_id)
    .outerjoin(
        ReplacedCheque,
        (ReplacedCheque.cancellation_id == CancelledCheque.cancellation_id)
        & (ReplacedCheque.old_cheque_id == CancelledCheque.cheque_id),
    )
    .order_by(CancelledCheque.cheque_id)
)


def _line(asked: CancelledCheque, grant_id: UUID, value_cents: int, replaced: ReplacedCheque | None) -> Line:
    """One that the redeemer cancelled after its last day has no new one: that is what is wrong with it."""
    issued = replaced is not None and replaced.issued_at is not None
    outcome = PENDING if asked.outcome == REQUESTED else REPLACED if issued else REFUSED
    reason = (asked.reason or EXPIRED) if outcome == REFUSED else None
    return Line(
        asked.cheque_id, grant_id, value_cents, outcome, reason, replaced.new_cheque_id if replaced and issued else None
    )


def listed(owner: UUID | None, grant_id: UUID | None) -> sa.Select[Any]:
    """The query of the ids of requests for replacement, of one prescriber or grant or of all."""
    query = sa.select(Replacement)
    if owner is not None or grant_id is not None:
        of = (
            sa.select(CancelledCheque.cancellation_id)
            .join(Cheque, Cheque.id == CancelledCheque.cheque_id)
            .join(Grant, Grant.id == Cheque.grant_id)
        )
        of = of.where(Grant.prescriber_id == owner) if owner is not None else of
        of = of.where(Grant.id == grant_id) if grant_id is not None else of
        query = query.where(Replacement.cancellation_id.in_(of))
    return query
