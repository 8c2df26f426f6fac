"""The events that services tell one another: a typed struct per kind.

The kind is the tag of the union: it stands beside the body, in the entry of the log, and names its struct (`KINDS`).
A reader ignores members that it does not know and refuses a message that lacks one; a change that a reader must
understand is a new version. Money is integer cents of EUR, instants are UTC, days are days in Paris.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

VERSION = 1

# Readers keep the value of a cheque in 32 bits; a writer is refused what they could not hold.
Cents = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Instant = Annotated[datetime, Meta(tz=True)]
HexDigest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Via = Literal["till", "operator"]

_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Body(msgspec.Struct, frozen=True):
    """The body of an event, or a part of one."""


class Programme(Body, frozen=True):
    """The rules of the programme that bear on spending, as they stood at the grant."""

    code: str
    spendable: Literal["on_issue", "on_registration"]
    services: Sequence[str]
    territory: Sequence[str]
    name: str | None = None


class IssuedCheque(Body, frozen=True):
    cheque_id: UUID
    digest: HexDigest
    value_cents: Cents


class ChequesIssued(Body, frozen=True):
    """A grant: its cheques exist from now on."""

    grant_id: UUID
    programme: Programme
    granted_on: date
    valid_until: date
    presentable_until: date
    cheques: Sequence[IssuedCheque]


class RedigestedCheque(Body, frozen=True):
    cheque_id: UUID
    digest: HexDigest


class ChequesRedigested(Body, frozen=True):
    """The digests of cheques' codes by a new key: the key of the old ones is on its way out."""

    cheques: Annotated[Sequence[RedigestedCheque], Meta(max_length=1000)]


class CancellationRequested(Body, frozen=True):
    """The issuer asks that cheques be cancelled; the redeemer decides for each."""

    cancellation_id: UUID
    cheque_ids: Sequence[UUID]
    reason: str


class ChequesBlocked(Body, frozen=True):
    """Cheques that are not to be accepted for now (lost, stolen, in doubt), or are again."""

    cheque_ids: Sequence[UUID]
    reason: str


class RedeemedCheque(Body, frozen=True):
    redemption_id: UUID
    cheque_id: UUID
    amount_cents: Cents


class ChequesRedeemed(Body, frozen=True):
    """Cheques were spent together, at our till or, as it told us, at the operator's."""

    presentation_id: UUID
    structure_id: UUID
    programme: str
    via: Via
    contract_id: UUID | None
    redeemed_at: Instant
    given_on: date
    redemptions: Sequence[RedeemedCheque]


class RedemptionReversed(Body, frozen=True):
    """A redemption was taken back: its cheque is spendable again."""

    redemption_id: UUID
    cheque_id: UUID
    structure_id: UUID
    amount_cents: Cents
    reason: str
    reversed_at: Instant


class ChequesCancelled(Body, frozen=True):
    """Cheques that a cancellation reached in time."""

    cancellation_id: UUID
    cheque_ids: Sequence[UUID]
    cancelled_at: Instant


class RefusedCheque(Body, frozen=True):
    cheque_id: UUID
    reason: str


class CancellationRefused(Body, frozen=True):
    """Cheques that a cancellation came too late for, each with the reason."""

    cancellation_id: UUID
    cheques: Sequence[RefusedCheque]


class ChequesExpired(Body, frozen=True):
    """Cheques whose validity and grace are over."""

    cheque_ids: Annotated[Sequence[UUID], Meta(max_length=1000)]
    expired_at: Instant


class StructureAffiliated(Body, frozen=True):
    """A training structure may redeem under a contract, from a day and perhaps until one.

    Where it is and what it offers was not told at first: null where it is not known, `services` null too.
    """

    structure_id: UUID
    siret: str | None
    name: str
    contract_id: UUID
    starts_on: date
    ends_on: date | None
    address: str | None = None
    postcode: str | None = None
    commune: str | None = None
    insee_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    services: Sequence[str] | None = None
    phone: str | None = None


class StructureDescribed(Body, frozen=True):
    """Where a training structure that is affiliated is now, and what it offers; null: not known."""

    structure_id: UUID
    name: str
    address: str | None
    postcode: str | None
    commune: str | None
    insee_code: str | None
    latitude: float | None
    longitude: float | None
    services: Sequence[str] | None
    phone: str | None


class StructureSuspended(Body, frozen=True):
    """A training structure may not redeem until further notice."""

    structure_id: UUID
    reason: str


class RedemptionContested(Body, frozen=True):
    """An operator's report of a redemption came for a cheque that was not spendable: two took it, or it was void."""

    report_id: UUID
    cheque_id: UUID
    reason: str


class CodesGuessed(Body, frozen=True):
    """So many codes were tried in vain that whoever tried them is locked out.

    The address, where it is that which is locked out, stands in the redeemer's log alone: a log of events is for ever.
    """

    scope: Literal["structure", "address", "everybody"]
    structure_id: UUID
    """By whose token the last one was tried."""
    lockout: int
    """1 for the first, and so on."""
    locked_until: Instant


class ChequesRegistered(Body, frozen=True):
    """The operator of a contract knows these cheques."""

    contract_id: UUID
    cheque_ids: Sequence[UUID]


class ChequesRefused(Body, frozen=True):
    """The operator of a contract will not have these cheques, each with its reason."""

    contract_id: UUID
    cheques: Sequence[RefusedCheque]


class RedemptionReported(Body, frozen=True):
    """An operator says that a cheque was spent at its own till."""

    report_id: UUID
    contract_id: UUID
    cheque_id: UUID
    structure_id: UUID
    amount_cents: Cents
    redeemed_at: Instant

    def __post_init__(self) -> None:
        """Raises ValueError where the till's clock cannot have said that."""
        if not _EARLIEST <= self.redeemed_at <= _LATEST:
            raise ValueError(f"`redeemed_at` must lie between {_EARLIEST.year} and {_LATEST.year}")


class RedemptionsConfirmed(Body, frozen=True):
    """The operator accepted these redemptions."""

    contract_id: UUID
    redemption_ids: Sequence[UUID]


class RefusedRedemption(Body, frozen=True):
    redemption_id: UUID
    reason: str


class RedemptionsRefused(Body, frozen=True):
    """The operator refuses to pay these redemptions, each with its reason."""

    contract_id: UUID
    redemptions: Sequence[RefusedRedemption]


class RedemptionsPaid(Body, frozen=True):
    """These redemptions were paid to their structures: as their operator says, or as the accountant told the redeemer.

    The accountant may pay what no operator was told of: then there is no contract.
    """

    contract_id: UUID | None
    payment_reference: str
    paid_on: date
    redemption_ids: Sequence[UUID]


class RedemptionsUnpaid(RedemptionsPaid, frozen=True):
    """These redemptions were told to be paid, by this payment, and are not: the accountant had mistyped it."""


class RedemptionsStranded(Body, frozen=True):
    """The operator of a contract failed before it paid these redemptions: they will be declared to another."""

    contract_id: UUID
    redemption_ids: Sequence[UUID]


class RedemptionRemembered(Body, frozen=True):
    """What another service remembers of a redemption that the redeemer lost: it is asked for, and never on a log."""

    redemption_id: UUID
    presentation_id: UUID
    cheque_id: UUID
    structure_id: UUID
    amount_cents: Cents
    via: Via
    contract_id: UUID | None
    redeemed_at: Instant
    given_on: date
    reversed: bool


class ContractChanged(Body, frozen=True):
    """A contract with an operator, as it now stands."""

    contract_id: UUID
    code: str
    operator: str
    programme: str
    state: Literal["draft", "live", "draining", "ended", "failed"]
    starts_on: date
    ends_on: date | None
    succeeds: UUID | None = None


class NoticePosted(Body, frozen=True):
    """Something that somebody should be told; sending it is another system's work."""

    notice_id: UUID
    kind: str
    key: str
    subject_id: UUID | None
    prescriber_id: UUID | None
    body: Mapping[str, Any]


KINDS: Mapping[str, type[Body]] = {
    "cheques.issued": ChequesIssued,
    "cheques.redigested": ChequesRedigested,
    "cancellation.requested": CancellationRequested,
    "cheques.blocked": ChequesBlocked,
    "cheques.unblocked": ChequesBlocked,
    "notice.posted": NoticePosted,
    "cheques.redeemed": ChequesRedeemed,
    "redemption.reversed": RedemptionReversed,
    "cheques.cancelled": ChequesCancelled,
    "cancellation.refused": CancellationRefused,
    "cheques.expired": ChequesExpired,
    "structure.affiliated": StructureAffiliated,
    "structure.described": StructureDescribed,
    "structure.suspended": StructureSuspended,
    "redemption.contested": RedemptionContested,
    "codes.guessed": CodesGuessed,
    "cheques.registered": ChequesRegistered,
    "cheques.refused": ChequesRefused,
    "redemption.reported": RedemptionReported,
    "redemptions.confirmed": RedemptionsConfirmed,
    "redemptions.refused": RedemptionsRefused,
    "redemptions.paid": RedemptionsPaid,
    "redemptions.unpaid": RedemptionsUnpaid,
    "redemptions.stranded": RedemptionsStranded,
    "redemption.remembered": RedemptionRemembered,
    "contract.changed": ContractChanged,
}

# Who reads whom: each service is told of the news of the two others.
READERS: Mapping[str, tuple[str, ...]] = {
    "issuer": ("redeemer", "operator_bridge"),
    "redeemer": ("issuer", "operator_bridge"),
    "operator_bridge": ("issuer", "redeemer"),
}


def load(kind: str, body: object) -> Any:
    """The struct of a body: of JSON that was read, or of the values that a writer has, as members or as attributes.

    Raises msgspec's ValidationError where a member is missing or wrong.
    """
    return msgspec.convert(body, KINDS[kind], from_attributes=True)


def encode(body: Body) -> str:
    """The JSON text of a body; raises ValueError where a number has no JSON form."""
    # Left to itself, msgspec ends an instant in UTC with `Z`; logs have `+00:00`.
    members = msgspec.to_builtins(body, builtin_types=(datetime,))
    return json.dumps(members, default=datetime.isoformat, allow_nan=False)
