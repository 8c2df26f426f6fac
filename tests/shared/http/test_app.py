"""What every service's HTTP has in common: tokens, problems, idempotency, health, documents."""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_smorest import Blueprint
from marshmallow import Schema, fields
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from shared.access import tokens
from shared.access.tokens import Role, caller, public, roles
from shared.eventlog import log
from shared.http import app as application
from shared.http.idempotency import idempotent
from shared.http.request_context import transaction
from shared.problems import Conflict, Unauthenticated
from shared.settings import settings
from shared.values.ids import new_id
from souche.keys import Signer
from tests.shared.conftest import Logs

ME, OTHER = new_id(), new_id()


class ThingSchema(Schema):
    amount_cents = fields.Int(required=True, strict=True)


class MadeSchema(Schema):
    thing_id = fields.UUID(required=True)
    secret = fields.Str(required=True)


def things(gate: threading.Event, entered: threading.Event) -> Blueprint:
    """A small resource whose creation can be held in mid-flight."""
    blueprint = Blueprint("things", __name__, url_prefix="/v1/things")

    @blueprint.route("", methods=["POST"])
    @roles("admin", own="structure")
    @idempotent(required=True, sealed_with="CODE_ENCRYPTION_KEYS")
    @blueprint.arguments(ThingSchema)
    @blueprint.response(201, MadeSchema)
    def make(thing: dict[str, Any]) -> dict[str, Any]:
        """Makes a thing."""
        with transaction() as session:
            thing_id = new_id()
            log.append(session, "cheques.blocked", thing_id, {"cheque_ids": [thing_id], "reason": "made"})
            entered.set()
            gate.wait(10)
            if thing["amount_cents"] == 13:
                raise Conflict("Not thirteen.", slug="unlucky", limit_cents=12)
            return {"thing_id": thing_id, "secret": "hush"}

    @blueprint.route("/<uuid:owner>")
    @roles(own="structure")
    @blueprint.response(200)
    def read(owner: UUID) -> dict[str, Any]:
        """Reads what is the caller's own."""
        caller().require(owner)
        return {"subject": caller().subject}

    return blueprint


@pytest.fixture
def gate() -> threading.Event:
    opened = threading.Event()
    opened.set()
    return opened


@pytest.fixture
def entered() -> threading.Event:
    return threading.Event()


@pytest.fixture
def app(logs: Logs, gate: threading.Event, entered: threading.Event) -> Flask:
    return application.build("issuer", settings.load("issuer", logs.environ), [things(gate, entered)])


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


Post = Callable[..., TestResponse]


@pytest.fixture
def post(app: Flask, signer: Signer) -> Post:
    def send(body: Any, key: str | None, scope: UUID = ME) -> TestResponse:
        headers = {"Authorization": f"Bearer {signer.token('structure', scope, 'till')}"}
        if key:
            headers["Idempotency-Key"] = key
        return app.test_client().post("/v1/things", json=body, headers=headers)

    return send


def json_of(answer: TestResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.data)
    return found


def made(logs: Logs) -> int:
    with logs.runtime("issuer").engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM event")).scalar_one())


def test_the_same_key_gets_the_same_answer_byte_for_byte_and_makes_one(post: Post, logs: Logs) -> None:
    first, second = post({"amount_cents": 5}, "k"), post({"amount_cents": 5}, "k")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.data == second.data
    assert made(logs) == 1


def test_the_same_key_with_another_body_is_refused(post: Post, logs: Logs) -> None:
    post({"amount_cents": 5}, "k")
    refused = post({"amount_cents": 6}, "k")
    assert (refused.status_code, json_of(refused)["type"]) == (422, "urn:souche:idempotency-key-reused")
    assert made(logs) == 1


def test_another_callers_key_is_another_key(post: Post, logs: Logs) -> None:
    assert post({"amount_cents": 5}, "k").data != post({"amount_cents": 5}, "k", OTHER).data
    assert made(logs) == 2


def test_a_request_without_its_key_is_told_so(post: Post) -> None:
    refused = post({"amount_cents": 5}, None)
    assert (refused.status_code, json_of(refused)["type"]) == (400, "urn:souche:idempotency-key-missing")


def test_a_refusal_leaves_nothing_and_is_not_kept(post: Post, logs: Logs) -> None:
    refused = post({"amount_cents": 13}, "k")
    assert (refused.status_code, refused.content_type) == (409, "application/problem+json")
    assert json_of(refused)["type"] == "urn:souche:unlucky"
    assert json_of(refused)["limit_cents"] == 12
    assert made(logs) == 0
    assert post({"amount_cents": 5}, "k").status_code == 201


def test_a_repeat_while_the_first_is_in_hand_is_told_to_wait(
    post: Post, gate: threading.Event, entered: threading.Event, logs: Logs
) -> None:
    gate.clear()
    answers: list[TestResponse] = []
    first = threading.Thread(target=lambda: answers.append(post({"amount_cents": 5}, "k")))
    first.start()
    assert entered.wait(10)
    waiting = post({"amount_cents": 5}, "k")
    gate.set()
    first.join()
    assert (waiting.status_code, json_of(waiting)["type"]) == (409, "urn:souche:request-in-hand")
    assert waiting.headers["Retry-After"] == "1"
    assert post({"amount_cents": 5}, "k").data == answers[0].data
    assert made(logs) == 1


def test_a_kept_answer_that_holds_a_secret_is_sealed(post: Post, logs: Logs) -> None:
    post({"amount_cents": 5}, "k")
    with logs.runtime("issuer").engine.connect() as connection:
        kept = connection.execute(sa.text("SELECT body FROM idempotent_answer")).scalar_one()
    assert b"hush" not in bytes(kept)


def test_a_wrong_field_is_named(post: Post) -> None:
    refused = post({"amount_cents": "5"}, "k")
    assert (refused.status_code, json_of(refused)["type"]) == (422, "urn:souche:invalid")
    assert json_of(refused)["errors"] == {"amount_cents": ["Not a valid integer."]}


@pytest.mark.parametrize(
    ("header", "status"), [(None, 401), ("Basic x", 401), ("Bearer x.y.z", 401), ("Bearer ", 401), ("Bearer é", 401)]
)
def test_a_request_without_a_good_token_is_refused(client: FlaskClient, header: str | None, status: int) -> None:
    answer = client.get(f"/v1/things/{ME}", headers={"Authorization": header} if header else {})
    assert answer.status_code == status
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.content_type == "application/problem+json"


def test_a_token_signed_by_another_key_or_expired_is_refused(client: FlaskClient, signer: Signer, logs: Logs) -> None:
    stranger = Signer.generate().token("structure", ME, "till")
    late = signer.token("structure", ME, "till", timedelta(minutes=-5))
    for token in (stranger, late):
        assert client.get(f"/v1/things/{ME}", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_token_that_is_known_is_still_refused_once_it_expires(signer: Signer) -> None:
    verifier = tokens.Verifier({signer.key_id: signer.public_key}, "issuer")
    token = signer.token("admin", lifetime=timedelta(seconds=-29))  # half a second within the leeway for skewed clocks
    assert verifier.caller(token).role is Role.ADMIN
    time.sleep(1.1)
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.caller(token)


def test_a_role_that_is_not_named_is_refused_and_anothers_things_are_not_found(
    client: FlaskClient, signer: Signer
) -> None:
    def ask(role: str, scope: UUID | None) -> TestResponse:
        return client.get(f"/v1/things/{ME}", headers={"Authorization": f"Bearer {signer.token(role, scope, 'x')}"})

    assert ask("structure", ME).json == {"subject": "x"}
    assert ask("structure", OTHER).status_code == 404
    assert ask("finance", None).status_code == 403
    assert ask("prescriber", ME).status_code == 403


@pytest.mark.parametrize(("role", "scope"), [(Role.STRUCTURE, None), (Role.ADMIN, ME)])
def test_a_token_is_not_made_with_a_scope_that_does_not_fit_its_role(role: Role, scope: UUID | None) -> None:
    with pytest.raises(ValueError, match="scope"):
        tokens.issue("k", bytes(32), role=role, subject="x", scope=scope)


def test_an_application_with_a_route_that_names_no_roles_does_not_start(logs: Logs) -> None:
    blueprint = Blueprint("forgotten", __name__, url_prefix="/v1/forgotten")

    @blueprint.route("")
    @blueprint.response(200)
    def forgotten() -> dict[str, str]:
        return {}

    with pytest.raises(RuntimeError, match=r"forgotten\.forgotten"):
        application.build("issuer", settings.load("issuer", logs.environ), [blueprint])


def test_what_flask_refuses_is_a_problem_too(client: FlaskClient) -> None:
    missing, wrong = client.get("/nowhere"), client.delete("/v1/things")
    assert (missing.status_code, json_of(missing)["type"]) == (404, "urn:souche:not-found")
    assert (wrong.status_code, json_of(wrong)["type"]) == (405, "urn:souche:method-not-allowed")
    assert "POST" in wrong.headers["Allow"]


def test_health_tells_database_and_broker_apart(client: FlaskClient, logs: Logs) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ok", "database": "ok", "broker": "ok"}
    blind = application.build("issuer", settings.load("issuer", broken(logs.environ, "REDIS_URL")), []).test_client()
    assert (blind.get("/readyz").status_code, json_of(blind.get("/readyz"))["broker"]) == (200, "down")
    lame = application.build(
        "issuer", settings.load("issuer", broken(logs.environ, "ISSUER_DATABASE_URL")), []
    ).test_client()
    assert (lame.get("/readyz").status_code, json_of(lame.get("/readyz"))["database"]) == (503, "down")


def broken(environ: Mapping[str, str], name: str) -> dict[str, str]:
    scheme = "redis" if name == "REDIS_URL" else "postgresql"
    return dict(environ) | {name: f"{scheme}://127.0.0.1:1/0"}


def test_a_database_that_is_down_is_a_problem_that_says_to_send_again(logs: Logs, signer: Signer) -> None:
    lame = application.build(
        "issuer", settings.load("issuer", broken(logs.environ, "ISSUER_DATABASE_URL")), []
    ).test_client()
    answer = lame.get("/v1/events", headers={"Authorization": f"Bearer {signer.token('service', None, 'x')}"})
    assert (answer.status_code, json_of(answer)["type"]) == (503, "urn:souche:unavailable")
    assert answer.headers["Retry-After"] == "2"


def test_the_request_id_comes_back_and_goes_into_the_event(
    client: FlaskClient, post: Post, logs: Logs, signer: Signer
) -> None:
    headers = {"Authorization": f"Bearer {signer.token('structure', ME, 'till')}", "Idempotency-Key": "k"}
    answer = client.post("/v1/things", json={"amount_cents": 1}, headers=headers | {"X-Request-ID": "till-7.42"})
    assert answer.headers["X-Request-ID"] == "till-7.42"
    with logs.runtime("issuer").engine.connect() as connection:
        assert connection.execute(sa.text("SELECT request_id FROM event")).scalar_one() == "till-7.42"
    assert client.get("/healthz", headers={"X-Request-ID": "a b\tc"}).headers["X-Request-ID"] != "a b\tc"


def test_the_openapi_document_is_valid_and_says_who_may_call(client: FlaskClient) -> None:
    document = json_of(client.get("/openapi.json"))
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["paths"]["/v1/things"]["post"]["x-roles"] == ["admin", "structure"]
    assert document["paths"]["/v1/events"]["get"]["x-roles"] == ["service"]
    [key] = document["paths"]["/v1/things"]["post"]["parameters"]
    assert (key["name"], key["required"]) == ("Idempotency-Key", True)
    assert list(document["components"]["responses"]["DEFAULT_ERROR"]["content"]) == ["application/problem+json"]


def test_the_readable_page_needs_no_outside_host(client: FlaskClient) -> None:
    page = client.get("/docs/").text
    assert client.get("/").headers["Location"].endswith("/docs/")
    assert set(re.findall(r"https?://([^/\"]+)", page)) <= {"localhost"}
    assert client.get("/docs/swagger-ui-bundle.js").status_code == 200


def test_views_that_say_public_are_open() -> None:
    assert tokens.reach_of(public(made)) == {}
    assert tokens.reach_of(made) is None
