"""Which envelope a cheque is charged to, and why: the rule of `docs/public-money.md` that every grant follows.

The same envelopes and the same grants give the same charges.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.funding.models import Convention, Envelope
from shared.problems import Conflict
from shared.values.money import euros


@dataclass(frozen=True, slots=True)
class FundingNeed:
    """The money that a grant needs: the cents of each cheque, its public and day, the prescriber's place and kind."""

    programme_id: UUID
    public: str | None
    day: date
    values: Sequence[int]
    postcode: str
    insee_code: str | None = None
    prescriber_kind: str | None = None


@dataclass(slots=True)
class EnvelopeView:
    """An envelope as a plan sees it: its terms and what is left."""

    id: UUID
    name: str
    programme_id: UUID
    priority: int
    starts_on: date
    ends_on: date
    target_publics: Sequence[str]
    available_cents: int
    share_bp: int | None = None
    engaged_cents: int = 0
    territory: Sequence[str] = ()
    reserved_publics: Sequence[str] = ()
    reserved_left_cents: int = 0
    """The part of the available cents that only the reserved publics may take."""

    def unfit(self, need: FundingNeed) -> str | None:
        """Why the envelope is not for such a grant; None where it is."""
        if not self.starts_on <= need.day <= self.ends_on:
            return f"runs from {self.starts_on} to {self.ends_on}"
        if self.target_publics and need.public not in self.target_publics:
            return f"for {', '.join(self.target_publics)} only"
        codes = (need.postcode, need.insee_code or "")
        if self.territory and not any(code.startswith(tuple(self.territory)) for code in codes):
            return f"for prescribers in {', '.join(self.territory)} only"
        return None

    def reserves_for(self, public: str | None) -> bool:
        """Whether its convention reserves money for this public."""
        return public in self.reserved_publics

    def free_cents(self, public: str | None) -> int:
        """The cents that a grant for this public may take."""
        kept = 0 if self.reserves_for(public) else self.reserved_left_cents
        return max(0, self.available_cents - kept)

    def take(self, public: str | None, cents: int) -> None:
        """Takes money for a grant for this public."""
        self.available_cents -= cents
        self.engaged_cents += cents
        if self.reserves_for(public):
            self.reserved_left_cents = max(0, self.reserved_left_cents - cents)

    def rank(self, cents: int) -> tuple[int, bool, Fraction, UUID]:
        """Its place in the order for the next cheque: the lowest pays."""
        if self.share_bp is None:
            return self.priority, True, Fraction(0), self.id
        # In the middle of the cheque, as Webster counts seats: nobody is favoured by being large or small.
        return self.priority, False, Fraction(2 * self.engaged_cents + cents, self.share_bp), self.id


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a grant that one envelope pays, and why."""

    envelope_id: UUID
    number: int
    cents: int
    why: str
    reserved: bool


@dataclass(frozen=True, slots=True)
class Allocation:
    """The envelope of each cheque of a grant, the sums by envelope, and the prescriber's kind for the reports."""

    envelope_ids: Sequence[UUID]
    parts: Sequence[Part]
    prescriber_kind: str | None


class Plan:
    """Charges grants, one after another, to envelopes as they were seen."""

    def __init__(self, envelopes: Iterable[EnvelopeView]) -> None:
        in_order = sorted(envelopes, key=lambda envelope: (envelope.priority, envelope.id))
        self._envelopes = {envelope.id: envelope for envelope in in_order}
        self.charges: Counter[tuple[UUID, bool]] = Counter()
        """Cents to engage, by envelope and by whether they are for a public that it reserves money for."""

    def take(self, need: FundingNeed) -> Allocation:
        """The envelope of each cheque; raises Conflict, and takes nothing, where the envelopes have less money."""
        of_programme = (seen for seen in self._envelopes.values() if seen.programme_id == need.programme_id)
        envelopes = [replace(envelope) for envelope in of_programme]
        eligible = [envelope for envelope in envelopes if envelope.unfit(need) is None]
        left = sum(envelope.free_cents(need.public) for envelope in eligible)
        payers = []
        for cents in need.values:
            able = [envelope for envelope in eligible if envelope.free_cents(need.public) >= cents]
            if not able:
                raise _refusal(bool(eligible), sum(need.values), left)
            payer = min(able, key=lambda envelope: envelope.rank(cents))
            payer.take(need.public, cents)
            payers.append(payer)
        self._envelopes.update((envelope.id, envelope) for envelope in envelopes)
        parts = list(_parts(need, envelopes, payers))
        for part in parts:
            self.charges[part.envelope_id, part.reserved] += part.cents
        return Allocation([envelope.id for envelope in payers], parts, need.prescriber_kind)


def plan(session: Session, programme_ids: Iterable[UUID], *, lock: bool) -> Plan:
    """A plan over what these programmes' envelopes have left; with `lock`, nobody charges them until the commit."""
    query = (
        sa.select(
            Envelope.id,
            sa.func.concat(Envelope.convention_reference, " (", Envelope.funder, ")").label("name"),
            Envelope.programme_id,
            Envelope.priority,
            Envelope.starts_on,
            Envelope.ends_on,
            Envelope.target_publics,
            (Envelope.amount_cents - Envelope.engaged_cents).label("available_cents"),
            Envelope.share_bp,
            Envelope.engaged_cents,
            Convention.territory,
            Convention.reserved_publics,
            sa.func.greatest(0, Envelope.reserved_cents - Envelope.engaged_reserved_cents).label("reserved_left_cents"),
        )
        .join(Convention, Convention.id == Envelope.convention_id)
        .where(Envelope.programme_id.in_(programme_ids), Envelope.closed_at.is_(None))
        .order_by(Envelope.id)
    )
    if lock:
        query = query.with_for_update(key_share=True, of=Envelope)
    return Plan(EnvelopeView(**row) for row in session.execute(query).mappings())


def _parts(need: FundingNeed, envelopes: Sequence[EnvelopeView], payers: Sequence[EnvelopeView]) -> Iterator[Part]:
    """What each envelope pays of a grant, by the envelope of each cheque."""
    for payer in {payer.id: payer for payer in payers}.values():
        paid = [cents for envelope, cents in zip(payers, need.values, strict=True) if envelope is payer]
        yield Part(payer.id, len(paid), sum(paid), _why(payer, need, envelopes), payer.reserves_for(need.public))


def _why(payer: EnvelopeView, need: FundingNeed, envelopes: Iterable[EnvelopeView]) -> str:
    """Why this envelope pays, and why those before it in the order were passed over."""
    reasons = [f"Priority {payer.priority}"]
    if payer.share_bp is not None:
        reasons.append(f"furthest below its share of {payer.share_bp / 100:g} %")
    if payer.target_publics:
        reasons.append(f"for {need.public}")
    if payer.territory:
        reasons.append(f"for prescribers in {', '.join(payer.territory)}")
    if payer.reserves_for(need.public):
        reasons.append(f"which keeps money for {need.public}")
    passed = [
        f"{other.name}: {_passed_over(other, need)}"
        for other in envelopes
        if (other.priority, other.id) < (payer.priority, payer.id)
    ]
    return ", ".join(reasons) + (f". Passed over: {'; '.join(passed)}." if passed else ".")


def _passed_over(envelope: EnvelopeView, need: FundingNeed) -> str:
    unfit = envelope.unfit(need)
    if unfit:
        return unfit
    if envelope.free_cents(need.public) >= min(need.values):
        return "nearer to its share" if envelope.share_bp is not None else "has no share, so comes after"
    if envelope.available_cents >= min(need.values):
        return f"what is left is kept for {', '.join(envelope.reserved_publics)}"
    return f"{euros(envelope.available_cents)} left"


def _refusal(eligible: bool, wanted_cents: int, left_cents: int) -> Conflict:
    if not eligible:
        return Conflict(
            "No envelope of the programme is for this public, on this day, from this prescriber.", slug="no-envelope"
        )
    return Conflict(
        f"{euros(wanted_cents)} are wanted and {euros(left_cents)} are left in the envelopes that this could be charged"
        " to, each cheque whole to one of them.",
        slug="envelope-exhausted",
        wanted_cents=wanted_cents,
        available_cents=left_cents,
    )
