"""Whom this service trusts, over HTTP: clients and their secrets, people's roles, what is taken back."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from shared.access import clients, login, revocations
from shared.access.models import Client, Membership, Revocation
from shared.access.tokens import SCOPED, Role, caller, roles
from shared.database.paging import PageQuery, page_of
from shared.http.idempotency import idempotent
from shared.http.request_context import runtime, service, transaction
from shared.values.text_rules import LINE_PATTERN, no_code

client_views = Blueprint("clients", __name__, url_prefix="/v1/oauth/clients", description="Programs with secrets.")
membership_views = Blueprint(
    "memberships", __name__, url_prefix="/v1/memberships", description="Roles of people who log in."
)
revocation_views = Blueprint(
    "revocations", __name__, url_prefix="/v1/revocations", description="Tokens taken back before their time."
)
BLUEPRINTS = (client_views, membership_views, revocation_views)

_ROLES = tuple(role.value for role in Role if role is not Role.SERVICE)  # services have tokens of their own
_LEEWAY = timedelta(minutes=5)
ONE_LINE = validate.Regexp(LINE_PATTERN, error="Control characters are not expected.")


def _line(longest: int = 200, **options: Any) -> fields.Str:
    return fields.Str(required=True, validate=[validate.Length(1, longest), ONE_LINE, no_code], **options)


class _RoleSchema(Schema):
    role = fields.Str(required=True, validate=validate.OneOf(_ROLES))
    scope = fields.UUID(load_default=None, allow_none=True, metadata={"description": "The prescriber or structure."})

    @validates_schema
    def _check_scope(self, data: dict[str, Any], **_: Any) -> None:
        if (data.get("scope") is not None) != (data.get("role") in SCOPED):
            raise ValidationError("Roles `prescriber` and `structure` have one, the others have none.", "scope")


class NewClientSchema(_RoleSchema):
    name = _line(metadata={"description": "Whose program, and which."})


class _MadeSchema(Schema):
    created_at = fields.AwareDateTime(required=True)
    created_by = fields.Str(required=True)


class SecretSchema(_MadeSchema):
    secret_id = fields.UUID(required=True)


class NewSecretSchema(SecretSchema):
    client_secret = fields.Str(required=True)


class ClientSchema(_RoleSchema, _MadeSchema):
    client_id = fields.UUID(required=True)
    name = fields.Str(required=True)
    disabled_at = fields.AwareDateTime(required=True, allow_none=True)
    disabled_reason = fields.Str(required=True, allow_none=True)
    secrets = fields.List(fields.Nested(SecretSchema), required=True)


class WhySchema(Schema):
    reason = _line(500)


class NewMembershipSchema(_RoleSchema):
    """A person, by who vouches for them and what they are called there, and a role."""

    provider = _line(255, metadata={"description": "The claim `idp_id`; without one, the provider's address."})
    subject = _line(255, metadata={"description": "The claim `sub`."})


class MembershipSchema(NewMembershipSchema, _MadeSchema):
    membership_id = fields.UUID(required=True)


class NewRevocationSchema(WhySchema):
    """What to take back: one token by its `jti`, or what a holder (`sub`) or a scope was given until now."""

    kind = fields.Str(required=True, validate=validate.OneOf(revocations.KINDS))
    value = _line(600)


class RevocationSchema(NewRevocationSchema):
    revocation_id = fields.UUID(required=True)
    before = fields.AwareDateTime(required=True)
    until = fields.AwareDateTime(required=True, allow_none=True)
    revoked_by = fields.Str(required=True)


@client_views.route("", methods=["POST"])
@roles("admin")
@idempotent()
@client_views.arguments(NewClientSchema)
@client_views.response(201, ClientSchema)
def register_client(body: dict[str, Any]) -> Client:
    """Register a program; give it a secret next."""
    with transaction() as session:
        login.require_place(session, service().register, body["role"], body["scope"])
        return clients.register(session, **body, created_by=str(caller()))


@client_views.route("")
@roles("admin")
@client_views.arguments(PageQuery, location="query")
@client_views.response(200, page_of(ClientSchema))
def list_clients(query: dict[str, Any]) -> dict[str, Any]:
    """The programs that are let in, or were."""
    with transaction() as session:
        return clients.page(session, query)


@client_views.route("/<uuid:client_id>")
@roles("admin")
@client_views.response(200, ClientSchema)
def show_client(client_id: UUID) -> Client:
    """A program and the secrets that it has."""
    with transaction() as session:
        return clients.find(session, client_id)


# Where the answer was lost, end that secret and make another.
@client_views.route("/<uuid:client_id>/secrets", methods=["POST"])
@roles("admin")
@idempotent(shown_once=True)
@client_views.response(201, NewSecretSchema)
def add_secret(client_id: UUID) -> dict[str, Any]:
    """Make a secret and show it this once; two may be good at a time, so that one can follow the other."""
    with transaction() as session:
        secret, text = clients.add_secret(session, client_id, str(caller()))
        return {**SecretSchema().dump(secret), "created_at": secret.created_at, "client_secret": text}


@client_views.route("/<uuid:client_id>/secrets/<uuid:secret_id>", methods=["DELETE"])
@roles("admin")
@client_views.response(200, ClientSchema)
def end_secret(client_id: UUID, secret_id: UUID) -> Client:
    """End a secret, and the tokens got so far."""
    with transaction() as session:
        return clients.end_secret(session, client_id, secret_id, str(caller()), _lifetime())


@client_views.route("/<uuid:client_id>/suspension", methods=["POST"])
@roles("admin")
@client_views.arguments(WhySchema)
@client_views.response(200, ClientSchema)
def disable_client(body: dict[str, str], client_id: UUID) -> Client:
    """Let a program in no more; its tokens end within seconds."""
    with transaction() as session:
        return clients.disable(session, client_id, body["reason"], str(caller()), _lifetime())


@client_views.route("/<uuid:client_id>/suspension", methods=["DELETE"])
@roles("admin")
@client_views.response(200, ClientSchema)
def enable_client(client_id: UUID) -> Client:
    """Let a program in again."""
    with transaction() as session:
        return clients.enable(session, client_id)


@membership_views.route("", methods=["POST"])
@roles("admin")
@idempotent()
@membership_views.arguments(NewMembershipSchema)
@membership_views.response(201, MembershipSchema)
def add_membership(body: dict[str, Any]) -> Membership:
    """Give a person a role."""
    with transaction() as session:
        login.require_place(session, service().register, body["role"], body["scope"])
        return login.add_membership(session, Membership(**body, created_by=str(caller())))


@membership_views.route("")
@roles("admin")
@membership_views.arguments(PageQuery, location="query")
@membership_views.response(200, page_of(MembershipSchema))
def list_memberships(query: dict[str, Any]) -> dict[str, Any]:
    """Who has which role."""
    with transaction() as session:
        return login.memberships(session, query)


@membership_views.route("/<uuid:membership_id>", methods=["DELETE"])
@roles("admin")
@membership_views.response(200, MembershipSchema)
def end_membership(membership_id: UUID) -> Membership:
    """Take a role from a person, and the tokens got so far."""
    with transaction() as session:
        return login.end_membership(session, membership_id, str(caller()), _lifetime())


@revocation_views.route("", methods=["POST"])
@roles("admin")
@idempotent()
@revocation_views.arguments(NewRevocationSchema)
@revocation_views.response(201, RevocationSchema)
def revoke(body: dict[str, str]) -> Revocation:
    """Take tokens back; every process of this service knows within seconds."""
    with transaction() as session:
        return revocations.revoke(session, body["kind"], body["value"], body["reason"], str(caller()))


@revocation_views.route("")
@roles("admin", "operations")
@revocation_views.arguments(PageQuery, location="query")
@revocation_views.response(200, page_of(RevocationSchema))
def list_revocations(query: dict[str, Any]) -> dict[str, Any]:
    """What is taken back now."""
    with transaction() as session:
        return revocations.page(session, query)


def _lifetime() -> timedelta:
    """The longest life of a token from here, where clocks differ."""
    return timedelta(seconds=runtime().settings.access_token_seconds) + _LEEWAY
