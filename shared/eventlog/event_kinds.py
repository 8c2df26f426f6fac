"""The events that services publish to one another: a typed struct per kind, whose tag is the name of the kind.

A reader ignores members that it does not know and refuses a message that lacks one; a change that a reader must
understand is a new version. Money is integer cents of EUR, instants are UTC, days are days in Paris.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from shared.settings.settings import SERVICES
from shared.values import clock

VERSION = 1

# Readers keep the value of a cheque in 32 bits; a writer is refused a larger one.
Cents = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Instant = Annotated[datetime, Meta(tz=True)]


class Body(msgspec.Struct, frozen=True):
    """The body of an event, or a part of one."""


class Programme(Body, frozen=True):
    """The rules of the programme that bear on spending, as they stood at the grant."""

    code: str
    spendable: Literal["on_issue", "on_registration"]
    services: Sequence[str]
    territory: Sequence[str]
    name: str | None = None


class RedigestedCheque(Body, frozen=True):
    cheque_id: UUID
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class IssuedCheque(RedigestedCheque, frozen=True):
    value_cents: Cents


class ChequesIssued(Body, frozen=True, tag="cheques.issued"):
    grant_id: UUID
    programme: Programme
    granted_on: date
    valid_until: date
    presentable_until: date
    cheques: Sequence[IssuedCheque]


class ChequesRedigested(Body, frozen=True, tag="cheques.redigested"):
    """The digests of cheques' codes by a new key: the key of the old ones is on its way out."""

    cheques: Annotated[Sequence[RedigestedCheque], Meta(max_length=1000)]


class CancellationRequested(Body, frozen=True, tag="cancellation.requested"):
    """The issuer asks that cheques be cancelled; the redeemer decides for each."""

    cancellation_id: UUID
    cheque_ids: Sequence[UUID]
    reason: str


class ChequesBlocked(Body, frozen=True, tag="cheques.blocked"):
    """Cheques that are not to be accepted for now: lost, stolen, in doubt."""

    cheque_ids: Sequence[UUID]
    reason: str


class ChequesUnblocked(ChequesBlocked, frozen=True, tag="cheques.unblocked"):
    """Cheques that are to be accepted again."""


class NoticePosted(Body, frozen=True, tag="notice.posted"):
    notice_id: UUID
    kind: str
    key: str
    subject_id: UUID | None
    prescriber_id: UUID | None
    body: Mapping[str, Any]


class Presentation(Body, frozen=True):
    """Cheques spent together, at our till or, as it reported, at the operator's."""

    presentation_id: UUID
    structure_id: UUID
    via: Literal["till", "operator"]
    contract_id: UUID | None
    redeemed_at: Instant
    given_on: date


class RedeemedCheque(Body, frozen=True):
    redemption_id: UUID
    cheque_id: UUID
    amount_cents: Cents


class ChequesRedeemed(Presentation, frozen=True, tag="cheques.redeemed"):
    programme: str
    redemptions: Sequence[RedeemedCheque]


class RedemptionRemembered(Presentation, frozen=True, tag="redemption.remembered"):
    """A redemption that the redeemer lost and another service remembers: answered on request, never on a log."""

    redemption_id: UUID
    cheque_id: UUID
    amount_cents: Cents
    reversed: bool


class RedemptionReversed(RedeemedCheque, frozen=True, tag="redemption.reversed"):
    structure_id: UUID
    reason: str
    reversed_at: Instant


class ChequesCancelled(Body, frozen=True, tag="cheques.cancelled"):
    cancellation_id: UUID
    cheque_ids: Sequence[UUID]
    cancelled_at: Instant


class RefusedCheque(Body, frozen=True):
    cheque_id: UUID
    reason: str


class CancellationRefused(Body, frozen=True, tag="cancellation.refused"):
    cancellation_id: UUID
    cheques: Sequence[RefusedCheque]


class ChequesExpired(Body, frozen=True, tag="cheques.expired"):
    cheque_ids: Annotated[Sequence[UUID], Meta(max_length=1000)]
    expired_at: Instant


class StructureAffiliated(Body, frozen=True, tag="structure.affiliated"):
    """A training structure may redeem under a contract; null: unknown, as its place and services in early events."""

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


class StructureDescribed(Body, frozen=True, tag="structure.described"):
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


class StructureSuspended(Body, frozen=True, tag="structure.suspended"):
    structure_id: UUID
    reason: str


class RedemptionContested(Body, frozen=True, tag="redemption.contested"):
    """An operator's report of a redemption came for a cheque that was not spendable: two took it, or it was void."""

    report_id: UUID
    cheque_id: UUID
    reason: str


class CodesGuessed(Body, frozen=True, tag="codes.guessed"):
    """The `lockout`th lock-out, from 1; a structure's token tried the last code. Addresses are never in events."""

    scope: Literal["structure", "address", "everybody"]
    structure_id: UUID
    lockout: int
    locked_until: Instant


class ChequesRegistered(Body, frozen=True, tag="cheques.registered"):
    contract_id: UUID
    cheque_ids: Sequence[UUID]


class ChequesRefused(Body, frozen=True, tag="cheques.refused"):
    contract_id: UUID
    cheques: Sequence[RefusedCheque]


class RedemptionReported(Body, frozen=True, tag="redemption.reported"):
    """An operator reports that a cheque was spent at its own till."""

    report_id: UUID
    contract_id: UUID
    cheque_id: UUID
    structure_id: UUID
    amount_cents: Cents
    redeemed_at: Instant

    def __post_init__(self) -> None:
        if not clock.EARLIEST <= self.redeemed_at <= clock.LATEST:
            raise ValueError(f"`redeemed_at` must lie between {clock.EARLIEST:%Y-%m-%d} and {clock.LATEST:%Y-%m-%d}")


class RedemptionsConfirmed(Body, frozen=True, tag="redemptions.confirmed"):
    contract_id: UUID
    redemption_ids: Sequence[UUID]


class RefusedRedemption(Body, frozen=True):
    redemption_id: UUID
    reason: str


class RedemptionsRefused(Body, frozen=True, tag="redemptions.refused"):
    contract_id: UUID
    redemptions: Sequence[RefusedRedemption]


class RedemptionsPaid(Body, frozen=True, tag="redemptions.paid"):
    """Paid to their structures, according to their operator or the accountant, who may pay what has no contract."""

    contract_id: UUID | None
    payment_reference: str
    paid_on: date
    redemption_ids: Sequence[UUID]


class RedemptionsUnpaid(RedemptionsPaid, frozen=True, tag="redemptions.unpaid"):
    """Reported as paid by this payment, and not paid: the accountant had mistyped it."""


class RedemptionsStranded(Body, frozen=True, tag="redemptions.stranded"):
    """Their operator failed before it paid them: they will be declared to another."""

    contract_id: UUID
    redemption_ids: Sequence[UUID]


class ContractChanged(Body, frozen=True, tag="contract.changed"):
    contract_id: UUID
    code: str
    operator: str
    programme: str
    state: Literal["draft", "live", "draining", "ended", "failed"]
    starts_on: date
    ends_on: date | None
    succeeds: UUID | None = None


def _kinds(parent: type[Body]) -> Iterator[tuple[str, type[Body]]]:
    for struct in parent.__subclasses__():
        if isinstance(kind := struct.__struct_config__.tag, str):
            yield kind, struct
        yield from _kinds(struct)


KINDS: Mapping[str, type[Body]] = dict(_kinds(Body))

READERS = {publisher: tuple(reader for reader in SERVICES if reader != publisher) for publisher in SERVICES}
"""The readers of each service's log."""


def load(kind: str, body: object) -> Any:
    """The struct of a body, read from JSON or made of members or attributes; raises msgspec's ValidationError."""
    return msgspec.convert(body, KINDS[kind], from_attributes=True)


def encode(body: Body) -> str:
    """The JSON text of a body; raises ValueError where a number has no JSON form."""
    # Left to itself, msgspec ends an instant in UTC with `Z`; logs have `+00:00`.
    members = msgspec.to_builtins(body, builtin_types=(datetime,))
    del members["type"]  # the kind stands beside the body
    return json.dumps(members, default=datetime.isoformat, allow_nan=False)
