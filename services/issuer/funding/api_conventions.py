"""Conventions over HTTP."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer.fields import cents, day, text
from services.issuer.funding import conventions
from services.issuer.funding.models import WHOLE, Convention, ConventionAmendment
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import transaction
from shared.values.bounded_fields import BoundedList

blueprint = Blueprint(
    "conventions", __name__, url_prefix="/v1/conventions", description="What funders agreed to pay for."
)
BLUEPRINTS = (blueprint,)

_PREFIX = validate.Regexp(r"[0-9][0-9AB][0-9]{0,3}\Z", error="The beginning of a postcode or INSEE code: 47, 4731, 2A.")


class ConventionSchema(Schema):
    """What a funder agreed to pay for, and on what terms."""

    convention_id = fields.UUID(dump_only=True, attribute="id")
    funder = text(required=True)
    reference = text(required=True)
    amount_cents = cents(required=True, metadata={"description": "The most that its envelopes hold together."})
    starts_on = day(required=True)
    ends_on = day(required=True)
    target_publics = BoundedList(text(), most=100, load_default=list, metadata={"description": "Empty: everybody."})
    territory = BoundedList(
        fields.Str(validate=_PREFIX),
        most=1000,
        load_default=list,
        metadata={"description": "Where the prescribers are that it pays for; empty: anywhere."},
    )
    pays_at_most_bp = fields.Int(
        strict=True,
        load_default=WHOLE,
        validate=validate.Range(1, WHOLE),
        metadata={"description": "The most that it pays of the cheques used, in ten-thousandths of their value."},
    )
    reserved_publics = BoundedList(
        text(), most=100, load_default=list, metadata={"description": "Publics that a part of the money is kept for."}
    )
    reserved_bp = fields.Int(
        strict=True,
        load_default=0,
        validate=validate.Range(0, WHOLE),
        metadata={"description": "That part of each envelope, in ten-thousandths."},
    )


class KnownConventionSchema(ConventionSchema):
    """A convention as it stands."""

    amount_cents = fields.Int(
        required=True, allow_none=True, metadata={"description": "Null, of one that an envelope named: as they hold."}
    )
    starts_on = fields.Date(required=True, allow_none=True, metadata={"description": "Null, of such a one."})
    ends_on = fields.Date(required=True, allow_none=True, metadata={"description": "Null, of such a one."})


class ConventionQuery(PageQuery):
    """Which conventions."""

    funder = text(load_default=None)


class AmendmentOrderSchema(Schema):
    """The new terms of an amendment (avenant), and its reason."""

    amount_cents = cents()
    ends_on = day(metadata={"description": "Envelopes that run to the convention's end run to this one."})
    reason = text(500, required=True)

    @validates_schema
    def _check(self, data: dict[str, Any], **_: Any) -> None:
        if "amount_cents" not in data and "ends_on" not in data:
            raise ValidationError("Give it, or `ends_on`, or both.", "amount_cents")


class AmendmentSchema(Schema):
    """The amount and the end of a convention from a moment on."""

    amendment_id = fields.UUID(required=True, attribute="id")
    convention_id = fields.UUID(required=True)
    amount_cents = fields.Int(required=True, allow_none=True)
    ends_on = fields.Date(required=True, allow_none=True)
    reason = fields.Str(required=True)
    made_by = fields.Str(required=True)
    made_at = fields.AwareDateTime(required=True)


@blueprint.route("", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(ConventionSchema)
@blueprint.response(201, KnownConventionSchema)
def create_convention(body: dict[str, Any]) -> Convention:
    """Add a convention; its money is in the envelopes that are then added to it."""
    with transaction() as session:
        return conventions.create(session, body, str(caller()))


@blueprint.route("")
@roles("admin", "finance", "operations")
@blueprint.arguments(ConventionQuery, location="query")
@blueprint.response(200, page_of(KnownConventionSchema))
def list_conventions(query: dict[str, Any]) -> dict[str, Any]:
    """The conventions, of one funder or of all, in the order in which they were added."""
    with transaction() as session:
        return conventions.page(session, query)


@blueprint.route("/<uuid:convention_id>")
@roles("admin", "finance", "operations")
@blueprint.response(200, KnownConventionSchema)
def show_convention(convention_id: UUID) -> Convention:
    """One convention."""
    with transaction() as session:
        return conventions.find(session, convention_id)


@blueprint.route("/<uuid:convention_id>/amendments", methods=["POST"])
@roles("admin", "finance")
@idempotent()
@blueprint.arguments(AmendmentOrderSchema)
@blueprint.response(201, AmendmentSchema)
def amend_convention(body: dict[str, Any], convention_id: UUID) -> ConventionAmendment:
    """Give a convention another amount or another end."""
    reason = body.pop("reason")
    with transaction() as session:
        return conventions.amend(session, convention_id, body, reason, str(caller()))


@blueprint.route("/<uuid:convention_id>/amendments")
@roles("admin", "finance", "operations")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(AmendmentSchema))
def list_amendments(query: dict[str, Any], convention_id: UUID) -> dict[str, Any]:
    """What a convention granted, at first and by each amendment, oldest first."""
    with transaction() as session:
        return conventions.amendments(session, convention_id, query)
