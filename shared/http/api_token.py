"""`POST /v1/oauth/token`: short-lived tokens for this service alone (RFC 6749, section 4.4; RFC 8693).

Errors are of RFC 6749, section 5.2, with the members of our problems beside them.
"""

import base64
import binascii
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from flask import Response, jsonify, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields
from werkzeug.datastructures import MultiDict

from shared.access import clients, login, tokens
from shared.access.login import Denied, Identity, WrongClient
from shared.access.oidc_provider import NotAccepted
from shared.access.token_lockout import too_many
from shared.access.tokens import uncounted
from shared.http.request_context import runtime, service, transaction
from shared.limiting import rate_limit, slow_bodies
from shared.limiting.request_limits import TooLarge, check_encoding
from shared.observability.logs import logger
from shared.problems import Problem, answer

CREDENTIALS = "client_credentials"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
SUBJECT_TOKENS = ("urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt")
_MAX_BYTES = 32 * 1024
_TEXT = {"type": "string"}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "grant_type": _TEXT | {"enum": [CREDENTIALS, EXCHANGE]},
    "client_id": _TEXT,
    "client_secret": _TEXT,
    "subject_token": _TEXT | {"description": "What the provider signed."},
    "subject_token_type": _TEXT | {"enum": list(SUBJECT_TOKENS)},
    "id_token": _TEXT | {"description": "Beside another subject token: what says how strongly the person logged in."},
    "scope": _TEXT | {"description": "As whom, where there is a choice."},
}
_FORM = {"type": "object", "required": ["grant_type"], "properties": _PARAMETERS}
_BODY = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _FORM}}}

blueprint = Blueprint("oauth", __name__, url_prefix="/v1/oauth", description="Who is let in, and as what.")


class TokenSchema(Schema):
    access_token = fields.Str(required=True)
    token_type = fields.Str(required=True)
    expires_in = fields.Int(required=True)
    scope = fields.Str(required=True, metadata={"description": "`admin`, or like `structure:<id>`."})
    issued_token_type = fields.Str(metadata={"description": "With token exchange."})


class DenialSchema(Schema):
    """RFC 6749, section 5.2, and RFC 9457 in one."""

    error = fields.Str(required=True)
    error_description = fields.Str()
    type = fields.Str(required=True)
    title = fields.Str(required=True)
    status = fields.Int(required=True)
    detail = fields.Str(required=True)
    choices = fields.List(fields.Dict())


# Public: a secret, or what a provider signed, is the key.
@blueprint.route("/token", methods=["POST"])
@uncounted
@blueprint.doc(requestBody=_BODY)
@blueprint.response(200, TokenSchema)
@blueprint.alt_response(400, schema=DenialSchema)
@blueprint.alt_response(401, schema=DenialSchema)
@blueprint.alt_response(413, schema=DenialSchema)
@blueprint.alt_response(415, schema=DenialSchema)
@blueprint.alt_response(429, schema=DenialSchema)
@blueprint.alt_response(503, schema=DenialSchema)
def token() -> Response:
    """Get a token for this service, by a client's secret or by an OpenID Connect provider's token."""
    try:
        rate_limit.of_stranger()
        params = _parameters()
        exchanged = params["grant_type"] == EXCHANGE
        identity = _by_provider(params) if exchanged else _by_secret(params)
    except Problem as problem:
        return _denied(problem)
    return _let_in(identity, exchanged)


def _parameters() -> dict[str, str]:
    """The parameters sent; the client's id and secret may stand in the Authorization header (Basic)."""
    check_encoding()
    request.max_content_length = _MAX_BYTES
    if (request.content_length or 0) > _MAX_BYTES:
        raise TooLarge(f"A request for a token has at most {_MAX_BYTES} bytes.", error="invalid_request")
    slow_bodies.read(slow_bodies.STRANGERS)
    form: MultiDict[str, str] = request.form
    repeated = [name for name in _PARAMETERS if len(form.getlist(name)) > 1]
    if repeated:
        raise Denied("invalid_request", f"More than one value: {', '.join(repeated)}.")
    params = {name: form.get(name, "") for name in _PARAMETERS} | _basic()
    if not params["grant_type"]:
        raise Denied("invalid_request", "Send a form (application/x-www-form-urlencoded) with a `grant_type`.")
    if params["grant_type"] not in (CREDENTIALS, EXCHANGE):
        raise Denied("unsupported_grant_type", f"`grant_type` is one of {CREDENTIALS}, {EXCHANGE}.")
    return params


def _basic() -> dict[str, str]:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise WrongClient from None
    if not colon or request.form.get("client_secret"):
        raise Denied("invalid_request", "Send the client's secret once: in the header or in the form.")
    return {"client_id": unquote_plus(client_id), "client_secret": unquote_plus(secret)}


def _by_secret(params: dict[str, str]) -> Identity:
    lockout, address, client_id = service().token_lockout, request.remote_addr or "", params["client_id"]
    is_locked = lockout.check(address, client_id)
    try:
        with transaction() as session:
            identity = login.by_secret(session, client_id, params["client_secret"], params["scope"])
            login.record(session, identity, None, address)
            return identity
    except Denied as problem:
        is_wrong = isinstance(problem, WrongClient)
        if is_wrong and is_locked:
            raise too_many() from None
        locked = is_wrong and lockout.count(address, client_id)
        _record_refusal(problem, clients.identifier(client_id), locked_out=locked)
        raise


def _by_provider(params: dict[str, str]) -> Identity:
    provider, register = service().provider, service().register
    if provider is None:
        raise Denied("unsupported_grant_type", "No OpenID Connect provider is configured here.")
    if params["subject_token_type"] not in SUBJECT_TOKENS or not params["subject_token"]:
        raise Denied("invalid_request", f"Send a `subject_token` and its type: {' or '.join(SUBJECT_TOKENS)}.")
    try:
        person = provider.person(params["subject_token"], params["id_token"])
    except NotAccepted as problem:
        # Nobody is locked out for it: a signature cannot be guessed, and all who use one front end share its address.
        denied = Denied("invalid_grant", problem.detail)
        _record_refusal(denied, None)
        raise denied from None
    try:
        with transaction() as session:
            identity = login.by_person(session, person, register, params["scope"])
            login.record(session, identity, person.logged_in_at, request.remote_addr)
            return identity
    except Denied as problem:
        if params["scope"] or problem.members["error"] != "invalid_scope":  # a choice of scopes is no refusal
            _record_refusal(problem, str(person))
        raise


def _record_refusal(problem: Denied, subject: str | None, *, locked_out: bool = False) -> None:
    refusals, error = service().login_refusals, problem.members["error"]
    refusals.record(error, subject, request.remote_addr, locked_out=locked_out)


def _let_in(identity: Identity, exchanged: bool) -> Response:
    settings = runtime().settings
    seconds = settings.access_token_seconds
    key_id, key = next(iter(settings.signing_keys.items()))
    token = tokens.issue(
        tokens.own_key_id(settings.service, key_id), key,
        role=identity.role, subject=identity.subject, scope=identity.scope,
        lifetime=timedelta(seconds=seconds), audience=(settings.service,),
    )  # fmt: skip
    scope = identity.requested_scope
    logger().info("token_issued", subject=identity.subject, scope=scope)
    body = {"access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": scope}
    return _plain(jsonify(body | ({"issued_token_type": ACCESS_TOKEN} if exchanged else {})))


def _denied(problem: Problem) -> Response:
    problem.members.setdefault("error", "invalid_request")
    logger().warning("token_denied", error=problem.members["error"], sender=request.remote_addr)
    response = answer(problem)
    response.content_type = "application/json"
    if isinstance(problem, WrongClient):
        response.headers["WWW-Authenticate"] = 'Basic realm="souche"'
    return _plain(response)


def _plain(response: Response) -> Response:
    """Adds what RFC 6749 requires of answers that hold a token, and we of the others too."""
    response.headers["Cache-Control"], response.headers["Pragma"] = "no-store", "no-cache"
    return response
