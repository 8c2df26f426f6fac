"""What a person's data, their erasure and their retention look like over HTTP."""

from marshmallow import Schema, fields, validate

from services.issuer.cheques.models import STATES
from services.issuer.people.schemas import BeneficiarySchema
from services.issuer.privacy.models import GROUNDS


class FoundSchema(Schema):
    """The row of a person, which is its name from now on: names stay out of addresses."""

    person_id = fields.UUID(required=True)


class HeldChequeSchema(Schema):
    """A cheque of the person's, and where it was spent."""

    cheque_id = fields.UUID(required=True)
    value_cents = fields.Int(required=True)
    state = fields.Str(required=True, validate=validate.OneOf(STATES))
    redeemed_on = fields.Date(required=True, allow_none=True)
    structure_id = fields.UUID(required=True, allow_none=True)
    structure = fields.Str(required=True, allow_none=True)


class HeldGrantSchema(Schema):
    """A grant to the person."""

    grant_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    programme_name = fields.Str(required=True)
    prescriber_id = fields.UUID(required=True)
    prescriber = fields.Str(required=True)
    granted_on = fields.Date(required=True)
    valid_until = fields.Date(required=True)
    presentable_until = fields.Date(required=True)
    amount_cents = fields.Int(required=True)
    target_public = fields.Str(required=True, allow_none=True)
    points = fields.Int(required=True, allow_none=True)
    rule_version = fields.Int(required=True, allow_none=True)
    reason = fields.Str(required=True)
    exception_reason = fields.Str(required=True, allow_none=True)
    reference = fields.Str(required=True, allow_none=True)
    previous_grants = fields.Int(required=True)
    lot = fields.Str(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)
    last_contact_on = fields.Date(required=True, metadata={"description": "With this programme, whoever granted."})
    kept_until = fields.Date(
        required=True, metadata={"description": "From this day on the grant does not say any more whose it is."}
    )
    cheques = fields.List(fields.Nested(HeldChequeSchema), required=True)


class HeldRequestSchema(Schema):
    """A cancellation, or a replacement where it has a cause, that was asked for some of the person's cheques."""

    cancellation_id = fields.UUID(required=True)
    reason = fields.Str(required=True)
    cause = fields.Str(required=True, allow_none=True)
    requested_at = fields.AwareDateTime(required=True)
    cheque_ids = fields.List(fields.UUID(), required=True)


class HeldNoticeSchema(Schema):
    """A notice about one of the grants."""

    kind = fields.Str(required=True)
    grant_id = fields.UUID(required=True)
    posted_at = fields.AwareDateTime(required=True)


class HeldSchema(Schema):
    """All that is held of a person. Codes are not: they are in the person's hand, and are cash."""

    person_id = fields.UUID(required=True)
    told_at = fields.AwareDateTime(required=True)
    identity = fields.Nested(BeneficiarySchema, required=True)
    last_contact_on = fields.Date(required=True)
    grants = fields.List(fields.Nested(HeldGrantSchema), required=True)
    requests = fields.List(fields.Nested(HeldRequestSchema), required=True)
    notices = fields.List(fields.Nested(HeldNoticeSchema), required=True)
    grants_of_others = fields.Int(
        required=True, metadata={"description": "Grants of other prescribers, which only the département may tell."}
    )


class ErasureSchema(Schema):
    """People who were forgotten at once."""

    erasure_id = fields.UUID(required=True, attribute="id")
    ground = fields.Str(required=True, validate=validate.OneOf(GROUNDS))
    asked_by = fields.Str(required=True)
    erased_at = fields.AwareDateTime(required=True)
    people = fields.Int(required=True, metadata={"description": "Identities that are gone."})
    grants = fields.Int(required=True, metadata={"description": "Grants that do not say any more whose they are."})


class ErasedSchema(Schema):
    """What was done as the person asked."""

    erasure_id = fields.UUID(required=True, attribute="erasure.id")
    grants = fields.Int(required=True, attribute="erasure.grants")
    spendable_number = fields.Int(
        required=True, metadata={"description": "Cheques not spent yet: whoever holds them can still spend them."}
    )
    spendable_cents = fields.Int(required=True)


class RunQuery(Schema):
    """Whether to do it."""

    dry_run = fields.Bool(
        load_default=False, metadata={"description": "Only say who would be forgotten, in numbers: no effect at all."}
    )


class DueSchema(Schema):
    """What of a programme has been kept long enough."""

    programme = fields.Str(required=True)
    last_contact_until = fields.Date(required=True, metadata={"description": "Whose last contact was by this day."})
    people = fields.Int(required=True)
    grants = fields.Int(required=True)


class RunSchema(Schema):
    """What was due, and what was done about it."""

    dry_run = fields.Bool(required=True)
    due = fields.List(fields.Nested(DueSchema), required=True)
    erasure_id = fields.UUID(required=True, allow_none=True)
    people = fields.Int(required=True, metadata={"description": "Identities that are gone."})
    grants = fields.Int(required=True)
    finished = fields.Bool(required=True, metadata={"description": "False: there was too much for one go, ask again."})


class KeptForSchema(Schema):
    """How long a programme keeps who its grants are for."""

    retention_months = fields.Int(required=True, strict=True, validate=validate.Range(1, 120))
