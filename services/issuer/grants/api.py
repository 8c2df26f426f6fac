"""Grants over HTTP, one at a time."""

from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from services.issuer.cheques.codes import Codes, Revealed
from services.issuer.cheques.schemas import ChequeSchema, PrintedChequeSchema
from services.issuer.fields import programme_code
from services.issuer.grants import granting, queries
from services.issuer.grants.models import Grant
from services.issuer.grants.schemas import GrantOrderSchema, grant_request
from services.issuer.grants.secrets import Secrets
from shared.access.tokens import caller, roles
from shared.audit import trail
from shared.database.paging import PageQuery, page, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, transaction
from shared.observability.logs import logger

blueprint = Blueprint(
    "grants", __name__, url_prefix="/v1/grants", description="Amounts granted to people, handed over as cheques."
)
BLUEPRINTS = (blueprint,)


class GrantSchema(Schema):
    """A grant, without its cheques and its beneficiary."""

    grant_id = fields.UUID(required=True, attribute="id")
    prescriber_id = fields.UUID(required=True)
    programme = fields.Str(required=True, attribute="programme_code")
    lot_id = fields.UUID(required=True, allow_none=True)
    reference = fields.Str(required=True, allow_none=True)
    target_public = fields.Str(required=True, allow_none=True)
    amount_cents = fields.Int(required=True)
    points = fields.Int(required=True, allow_none=True)
    reason = fields.Str(required=True)
    rule_version = fields.Int(
        required=True,
        allow_none=True,
        metadata={"description": "The version of the programme's rule by which it was judged."},
    )
    exception_reason = fields.Str(
        required=True,
        allow_none=True,
        metadata={"description": "Why the grant exceeds the person's limit; null where it does not."},
    )
    exception_by = fields.Str(required=True, allow_none=True)
    granted_on = fields.Date(required=True)
    valid_until = fields.Date(required=True)
    presentable_until = fields.Date(required=True)
    previous_grants = fields.Int(
        required=True, metadata={"description": "Grants to the same person before this one, whoever made them."}
    )


class ChargedChequeSchema(ChequeSchema):
    """A cheque and why it is charged to its envelope."""

    why = fields.Str(required=True, metadata={"description": "Why this envelope, and what was passed over."})
    replaces = fields.UUID(required=True, allow_none=True, metadata={"description": "The lost cheque in whose place."})
    replaced_by = fields.UUID(required=True, allow_none=True)


class ChargeSchema(Schema):
    """The part of a grant that one envelope pays, as it was charged."""

    envelope_id = fields.UUID(required=True)
    funder = fields.Str(required=True)
    convention_reference = fields.Str(required=True)
    number = fields.Int(required=True)
    cents = fields.Int(required=True)
    why = fields.Str(required=True)


class GrantWithChequesSchema(GrantSchema):
    """A grant, its cheques as last known, and the envelopes that pay for them."""

    charges = fields.List(fields.Nested(ChargeSchema), required=True)
    cheques = fields.List(fields.Nested(ChargedChequeSchema), required=True)


class GrantedSchema(GrantSchema):
    """A new grant and the codes to hand over."""

    already = fields.Bool(
        required=True, metadata={"description": "The reference was used before: this is the grant made then."}
    )
    cheques = fields.List(fields.Nested(PrintedChequeSchema), required=True)


class CodesSchema(Schema):
    """The codes of a grant's cheques."""

    cheques = fields.List(fields.Nested(PrintedChequeSchema), required=True)


class GrantQuery(PageQuery):
    """Which grants."""

    programme = programme_code(load_default=None)
    lot = programme_code(load_default=None)
    exceptional = fields.Bool(
        load_default=None,
        metadata={"description": "True: those that exceed the programme's limit for one person. False: the others."},
    )


_SHOWN = [field.attribute or name for name, field in GrantSchema().fields.items()]


def _shown(grant: Grant, **members: Any) -> dict[str, Any]:
    """What the schemas read of a grant, and members of its answer."""
    return {name: getattr(grant, name) for name in _SHOWN} | members


@blueprint.route("", methods=["POST"])
@roles("admin", own="prescriber")
@idempotent(required=True, sealed_with="CODE_ENCRYPTION_KEYS")
@blueprint.arguments(GrantOrderSchema)
@blueprint.response(201, GrantedSchema)
def create_grant(body: dict[str, Any]) -> dict[str, Any]:
    """Grant an amount: the cheques exist from now on, each charged to one envelope."""
    request = grant_request(body, caller())
    with transaction() as session:
        issued = granting.grant(session, Secrets.of(runtime().settings.keys), request)
        return _shown(issued.grant, already=issued.already, cheques=issued.cheques)


@blueprint.route("")
@roles("admin", "finance", "operations", own="prescriber")
@blueprint.arguments(GrantQuery, location="query")
@blueprint.response(200, page_of(GrantSchema))
def list_grants(query: dict[str, Any]) -> dict[str, Any]:
    """The grants, oldest first; to a prescriber, its own."""
    with transaction() as session:
        found = queries.grants(caller().scope, query["programme"], exceptional=query["exceptional"], lot=query["lot"])
        return page(session, found, Grant.id, query["after"], query["limit"])


@blueprint.route("/<uuid:grant_id>")
@roles("admin", "finance", "operations", own="prescriber")
@blueprint.response(200, GrantWithChequesSchema)
def show_grant(grant_id: UUID) -> dict[str, Any]:
    """A grant, what is known of its cheques, and why each is charged to its envelope."""
    with transaction() as session:
        grant = queries.grant(session, grant_id, caller().scope)
        charges = queries.charges(session, grant_id)
        return _shown(grant, charges=charges, cheques=queries.explained(session, grant_id, charges))


@blueprint.route("/<uuid:grant_id>/codes")
@roles("admin", own="prescriber")
@blueprint.response(200, CodesSchema)
def show_codes(grant_id: UUID) -> dict[str, list[Revealed]]:
    """The codes of a grant, to print them again. The caller is logged."""
    with transaction() as session:
        queries.grant(session, grant_id, caller().scope)
        logger().info("codes_shown", grant_id=str(grant_id), caller=str(caller()))
        trail.record(session, "grant", [grant_id], after={"shown": "codes"})
        return {"cheques": Codes(runtime().settings.keys).of_grant(session, grant_id)}
