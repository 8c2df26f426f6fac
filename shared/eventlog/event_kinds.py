"""The events that services tell one another: one schema per kind and version.

A reader ignores members that it does not know and refuses a message that lacks one; a change that a reader must
understand is a new version. Money is integer cents of EUR, instants are UTC, days are days in Paris.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, fields, validate

from shared.eventlog.fast_schema import PlainSchema

VERSION = 1


def _ids(**options: Any) -> fields.Field[Any]:
    return fields.List(fields.UUID(), required=True, **options)


# Readers keep the value of a cheque in 32 bits; a writer is refused what they could not hold.
_MOST_CENTS = 2**31 - 1
_CENTURIES = validate.Range(datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


def _cents() -> fields.Int:
    return fields.Int(required=True, strict=True, validate=validate.Range(1, _MOST_CENTS))


class _Message(Schema):
    class Meta:
        unknown = EXCLUDE


class _Programme(_Message):
    """The rules of the programme that bear on spending, as they stood at the grant."""

    code = fields.Str(required=True)
    name = fields.Str(load_default=None, allow_none=True)
    spendable = fields.Str(required=True, validate=validate.OneOf(("on_issue", "on_registration")))
    services = fields.List(fields.Str(), required=True)
    territory = fields.List(fields.Str(), required=True)


class _IssuedCheque(_Message):
    cheque_id = fields.UUID(required=True)
    digest = fields.Str(required=True, validate=validate.Regexp(r"[0-9a-f]{64}\Z"))
    value_cents = _cents()


class ChequesIssued(_Message):
    """A grant: its cheques exist from now on."""

    grant_id = fields.UUID(required=True)
    programme = fields.Nested(_Programme, required=True)
    granted_on = fields.Date(required=True)
    valid_until = fields.Date(required=True)
    presentable_until = fields.Date(required=True)
    cheques = fields.List(fields.Nested(_IssuedCheque), required=True)


class _Digest(_Message):
    cheque_id = fields.UUID(required=True)
    digest = fields.Str(required=True, validate=validate.Regexp(r"[0-9a-f]{64}\Z"))


class ChequesRedigested(_Message):
    """The digests of cheques' codes by a new key: the key of the old ones is on its way out."""

    cheques = fields.List(fields.Nested(_Digest), required=True, validate=validate.Length(max=1000))


class CancellationRequested(_Message):
    """The issuer asks that cheques be cancelled; the redeemer decides for each."""

    cancellation_id = fields.UUID(required=True)
    cheque_ids = _ids()
    reason = fields.Str(required=True)


class ChequesBlocked(_Message):
    """Cheques that are not to be accepted for now (lost, stolen, in doubt), or are again."""

    cheque_ids = _ids()
    reason = fields.Str(required=True)


class _Redemption(_Message):
    redemption_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    amount_cents = _cents()


class ChequesRedeemed(_Message):
    """Cheques were spent together, at our till or, as it told us, at the operator's."""

    presentation_id = fields.UUID(required=True)
    structure_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    via = fields.Str(required=True, validate=validate.OneOf(("till", "operator")))
    contract_id = fields.UUID(required=True, allow_none=True)
    redeemed_at = fields.AwareDateTime(required=True)
    given_on = fields.Date(required=True)
    redemptions = fields.List(fields.Nested(_Redemption), required=True)


class RedemptionReversed(_Message):
    """A redemption was taken back: its cheque is spendable again."""

    redemption_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    structure_id = fields.UUID(required=True)
    amount_cents = _cents()
    reason = fields.Str(required=True)
    reversed_at = fields.AwareDateTime(required=True)


class ChequesCancelled(_Message):
    """Cheques that a cancellation reached in time."""

    cancellation_id = fields.UUID(required=True)
    cheque_ids = _ids()
    cancelled_at = fields.AwareDateTime(required=True)


class _RefusedCheque(_Message):
    cheque_id = fields.UUID(required=True)
    reason = fields.Str(required=True)


class CancellationRefused(_Message):
    """Cheques that a cancellation came too late for, each with the reason."""

    cancellation_id = fields.UUID(required=True)
    cheques = fields.List(fields.Nested(_RefusedCheque), required=True)


class ChequesExpired(_Message):
    """Cheques whose validity and grace are over."""

    cheque_ids = _ids(validate=validate.Length(max=1000))
    expired_at = fields.AwareDateTime(required=True)


class StructureAffiliated(_Message):
    """A training structure may redeem under a contract, from a day and perhaps until one.

    Where it is and what it offers was not told at first: null where it is not known, `services` null too.
    """

    structure_id = fields.UUID(required=True)
    siret = fields.Str(required=True, allow_none=True)
    name = fields.Str(required=True)
    contract_id = fields.UUID(required=True)
    starts_on = fields.Date(required=True)
    ends_on = fields.Date(required=True, allow_none=True)
    address = fields.Str(load_default=None, allow_none=True)
    postcode = fields.Str(load_default=None, allow_none=True)
    commune = fields.Str(load_default=None, allow_none=True)
    insee_code = fields.Str(load_default=None, allow_none=True)
    latitude = fields.Float(load_default=None, allow_none=True)
    longitude = fields.Float(load_default=None, allow_none=True)
    services = fields.List(fields.Str(), load_default=None, allow_none=True)
    phone = fields.Str(load_default=None, allow_none=True)


class StructureDescribed(_Message):
    """Where a training structure that is affiliated is now, and what it offers; null: not known."""

    structure_id = fields.UUID(required=True)
    name = fields.Str(required=True)
    address = fields.Str(required=True, allow_none=True)
    postcode = fields.Str(required=True, allow_none=True)
    commune = fields.Str(required=True, allow_none=True)
    insee_code = fields.Str(required=True, allow_none=True)
    latitude = fields.Float(required=True, allow_none=True)
    longitude = fields.Float(required=True, allow_none=True)
    services = fields.List(fields.Str(), required=True, allow_none=True)
    phone = fields.Str(required=True, allow_none=True)


class StructureSuspended(_Message):
    """A training structure may not redeem until further notice."""

    structure_id = fields.UUID(required=True)
    reason = fields.Str(required=True)


class RedemptionContested(_Message):
    """An operator's report of a redemption came for a cheque that was not spendable: two took it, or it was void."""

    report_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    reason = fields.Str(required=True)


class CodesGuessed(_Message):
    """So many codes were tried in vain that whoever tried them is locked out.

    The address, where it is that which is locked out, stands in the redeemer's log alone: a log of events is for ever.
    """

    scope = fields.Str(required=True, validate=validate.OneOf(("structure", "address", "everybody")))
    structure_id = fields.UUID(required=True, metadata={"description": "By whose token the last one was tried."})
    lockout = fields.Int(required=True, metadata={"description": "1 for the first, and so on."})
    locked_until = fields.AwareDateTime(required=True)


class ChequesRegistered(_Message):
    """The operator of a contract knows these cheques."""

    contract_id = fields.UUID(required=True)
    cheque_ids = _ids()


class ChequesRefused(_Message):
    """The operator of a contract will not have these cheques, each with its reason."""

    contract_id = fields.UUID(required=True)
    cheques = fields.List(fields.Nested(_RefusedCheque), required=True)


class RedemptionReported(_Message):
    """An operator says that a cheque was spent at its own till."""

    report_id = fields.UUID(required=True)
    contract_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    structure_id = fields.UUID(required=True)
    amount_cents = _cents()
    redeemed_at = fields.AwareDateTime(required=True, validate=_CENTURIES)


class RedemptionsConfirmed(_Message):
    """The operator accepted these redemptions."""

    contract_id = fields.UUID(required=True)
    redemption_ids = _ids()


class _RefusedRedemption(_Message):
    redemption_id = fields.UUID(required=True)
    reason = fields.Str(required=True)


class RedemptionsRefused(_Message):
    """The operator refuses to pay these redemptions, each with its reason."""

    contract_id = fields.UUID(required=True)
    redemptions = fields.List(fields.Nested(_RefusedRedemption), required=True)


class RedemptionsPaid(_Message):
    """These redemptions were paid to their structures: as their operator says, or as the accountant told the redeemer.

    The accountant may pay what no operator was told of: then there is no contract.
    """

    contract_id = fields.UUID(required=True, allow_none=True)
    payment_reference = fields.Str(required=True)
    paid_on = fields.Date(required=True)
    redemption_ids = _ids()


class RedemptionsUnpaid(RedemptionsPaid):
    """These redemptions were told to be paid, by this payment, and are not: the accountant had mistyped it."""


class RedemptionsStranded(_Message):
    """The operator of a contract failed before it paid these redemptions: they will be declared to another."""

    contract_id = fields.UUID(required=True)
    redemption_ids = _ids()


class RedemptionRemembered(_Message):
    """What another service remembers of a redemption that the redeemer lost: it is asked for, and never on a log."""

    redemption_id = fields.UUID(required=True)
    presentation_id = fields.UUID(required=True)
    cheque_id = fields.UUID(required=True)
    structure_id = fields.UUID(required=True)
    amount_cents = _cents()
    via = fields.Str(required=True, validate=validate.OneOf(("till", "operator")))
    contract_id = fields.UUID(required=True, allow_none=True)
    redeemed_at = fields.AwareDateTime(required=True)
    given_on = fields.Date(required=True)
    reversed = fields.Bool(required=True)


class ContractChanged(_Message):
    """A contract with an operator, as it now stands."""

    contract_id = fields.UUID(required=True)
    code = fields.Str(required=True)
    operator = fields.Str(required=True)
    programme = fields.Str(required=True)
    state = fields.Str(required=True, validate=validate.OneOf(("draft", "live", "draining", "ended", "failed")))
    starts_on = fields.Date(required=True)
    ends_on = fields.Date(required=True, allow_none=True)
    succeeds = fields.UUID(load_default=None, allow_none=True)


class NoticePosted(_Message):
    """Something that somebody should be told; sending it is another system's work."""

    notice_id = fields.UUID(required=True)
    kind = fields.Str(required=True)
    key = fields.Str(required=True)
    subject_id = fields.UUID(required=True, allow_none=True)
    prescriber_id = fields.UUID(required=True, allow_none=True)
    body = fields.Dict(keys=fields.Str(), required=True)


KINDS: Mapping[str, Schema] = {
    "cheques.issued": ChequesIssued(),
    "cheques.redigested": ChequesRedigested(),
    "cancellation.requested": CancellationRequested(),
    "cheques.blocked": ChequesBlocked(),
    "cheques.unblocked": ChequesBlocked(),
    "notice.posted": NoticePosted(),
    "cheques.redeemed": ChequesRedeemed(),
    "redemption.reversed": RedemptionReversed(),
    "cheques.cancelled": ChequesCancelled(),
    "cancellation.refused": CancellationRefused(),
    "cheques.expired": ChequesExpired(),
    "structure.affiliated": StructureAffiliated(),
    "structure.described": StructureDescribed(),
    "structure.suspended": StructureSuspended(),
    "redemption.contested": RedemptionContested(),
    "codes.guessed": CodesGuessed(),
    "cheques.registered": ChequesRegistered(),
    "cheques.refused": ChequesRefused(),
    "redemption.reported": RedemptionReported(),
    "redemptions.confirmed": RedemptionsConfirmed(),
    "redemptions.refused": RedemptionsRefused(),
    "redemptions.paid": RedemptionsPaid(),
    "redemptions.unpaid": RedemptionsUnpaid(),
    "redemptions.stranded": RedemptionsStranded(),
    "redemption.remembered": RedemptionRemembered(),
    "contract.changed": ContractChanged(),
}

_PLAIN = {kind: PlainSchema(schema) for kind, schema in KINDS.items()}

# Who reads whom: each service is told of the news of the two others.
READERS: Mapping[str, tuple[str, ...]] = {
    "issuer": ("redeemer", "operator_bridge"),
    "redeemer": ("issuer", "operator_bridge"),
    "operator_bridge": ("issuer", "redeemer"),
}


def dump(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON form of a message; raises marshmallow's ValidationError where it is not whole."""
    schema = _PLAIN[kind]
    written = schema.dump(body)
    schema.load(written)
    return written


def load(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A message read back, ids as UUID and days as date; raises marshmallow's ValidationError."""
    return _PLAIN[kind].load(body)
