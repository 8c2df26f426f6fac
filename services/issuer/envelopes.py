"""Envelopes: whose money a cheque is charged to, and that none is ever engaged beyond its amount.

A plan is made from what is seen, without locks. `charge` holds it against what there is, by a conditional update that
comes last in its transaction: an envelope's row, which every grant of its programme writes, is locked only while the
transaction commits.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Session

from services.issuer.models import Envelope, Programme
from services.issuer.money import euros
from shared.ids import new_id
from shared.problems import Conflict, NotFound

_RELEASES = "envelope releases"


class Outrun(Exception):
    """Between plan and charge another transaction took what the plan counted on: plan again."""


@dataclass(slots=True)
class Fund:
    """An envelope as a plan sees it."""

    id: UUID
    programme_id: UUID
    priority: int
    starts_on: date
    ends_on: date
    target_publics: list[str]
    available_cents: int

    def covers(self, programme_id: UUID, public: str | None, day: date) -> bool:
        """Whether the money is meant for such a grant."""
        return (
            self.programme_id == programme_id
            and self.starts_on <= day <= self.ends_on
            and (not self.target_publics or public in self.target_publics)
        )


class Plan:
    """Charges grants, one after another, to envelopes as they were seen: by priority, then in the order they came."""

    def __init__(self, funds: Iterable[Fund]) -> None:
        self._funds = sorted(funds, key=lambda fund: (fund.priority, fund.id))
        self.charges: Counter[UUID] = Counter()
        """Cents to engage, by envelope."""

    def take(self, programme: Programme, public: str | None, day: date, cheques: int) -> list[UUID]:
        """The envelope of each cheque; raises Conflict, having taken nothing, where the money does not suffice."""
        face = programme.face_value_cents
        eligible = [fund for fund in self._funds if fund.covers(programme.id, public, day)]
        shares = []
        wanted = cheques
        for fund in eligible:
            share = min(wanted, fund.available_cents // face)
            shares.append((fund, share))
            wanted -= share
        if wanted:
            raise _refusal(eligible, cheques * face)
        for fund, share in shares:
            fund.available_cents -= share * face
            if share:
                self.charges[fund.id] += share * face
        return [fund.id for fund, share in shares for _ in range(share)]


def create(session: Session, programme: Programme, terms: Mapping[str, Any]) -> Envelope:
    """Adds an envelope to a programme; `terms` are its columns by name."""
    envelope = Envelope(id=new_id(), programme=programme, engaged_cents=0, **terms)
    session.add(envelope)
    session.flush()
    return envelope


def find(session: Session, envelope_id: UUID) -> Envelope:
    """An envelope; raises NotFound."""
    found = session.get(Envelope, envelope_id)
    if found is None:
        raise NotFound("There is no such envelope.")
    return found


def every(programme: str | None) -> sa.Select[Any]:
    """The query of all envelopes, or of one programme's."""
    query = sa.select(Envelope)
    return query.join(Programme).where(Programme.code == programme) if programme else query


def plan(session: Session, programme_ids: Iterable[UUID], *, lock: bool) -> Plan:
    """A plan over what the envelopes of these programmes have left, as seen now or, locked, until the commit."""
    query = (
        sa.select(
            Envelope.id,
            Envelope.programme_id,
            Envelope.priority,
            Envelope.starts_on,
            Envelope.ends_on,
            Envelope.target_publics,
            (Envelope.amount_cents - Envelope.engaged_cents).label("available_cents"),
        )
        .where(Envelope.programme_id.in_(programme_ids))
        .order_by(Envelope.id)
    )
    if lock:
        query = query.with_for_update(key_share=True)
    return Plan(Fund(**row) for row in session.execute(query).mappings())


def charge(session: Session, charges: Mapping[UUID, int]) -> None:
    """Engages these cents, by envelope; raises Outrun where one of them has not so much left.

    Locks in the order of the ids, as everybody does, so that two never wait for each other crosswise.
    """
    for envelope_id, cents in sorted(charges.items()):
        enough = Envelope.engaged_cents + cents <= Envelope.amount_cents
        if not _engage(session, envelope_id, cents, enough):
            raise Outrun


def release(session: Session, freed: Mapping[UUID, int]) -> None:
    """Gives these cents back to their envelopes as the transaction commits, however many times it is called before."""
    if _RELEASES not in session.info:
        session.info[_RELEASES] = Counter()
        event.listen(session, "before_commit", _release_all)
    session.info[_RELEASES].update(freed)


def _release_all(session: Session) -> None:
    for envelope_id, cents in sorted(session.info[_RELEASES].items()):
        _engage(session, envelope_id, -cents, sa.true())
    session.info[_RELEASES].clear()


def _engage(session: Session, envelope_id: UUID, cents: int, condition: sa.ColumnElement[bool]) -> bool:
    statement = (
        sa.update(Envelope)
        .where(Envelope.id == envelope_id, condition)
        .values(engaged_cents=Envelope.engaged_cents + cents)
        .returning(Envelope.id)
        .execution_options(synchronize_session=False)
    )
    return session.execute(statement).one_or_none() is not None


def _refusal(eligible: Iterable[Fund], wanted_cents: int) -> Conflict:
    funds = list(eligible)
    if not funds:
        return Conflict("No envelope of the programme is for this public on this day.", slug="no-envelope")
    left = sum(fund.available_cents for fund in funds)
    return Conflict(
        f"{euros(wanted_cents)} are wanted and {euros(left)} are left in the envelopes that this could be charged to.",
        slug="envelope-exhausted",
        wanted_cents=wanted_cents,
        available_cents=left,
    )
