"""Programs get short-lived tokens for one service by a secret, and nothing without it."""

import base64
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from werkzeug.test import TestResponse

from shared.access import token_lockout
from shared.values import clock
from tests.harness import ServiceUnderTest
from tests.issuer.office import Office, places
from tests.shared.access.calling import call, eventually_refused

CREDENTIALS = "client_credentials"


@pytest.fixture
def office(issuer: ServiceUnderTest) -> Iterator[Office]:
    """An issuer with one prescriber; nobody is locked out, neither now nor afterwards: applications outlive a test."""
    for_others = issuer.app.extensions["souche"].token_lockout
    issuer.app.extensions["souche"].token_lockout = token_lockout.TokenLockout(issuer.runtime)
    yield Office(issuer)
    issuer.app.extensions["souche"].token_lockout = for_others


@pytest.fixture
def prescriber(office: Office) -> UUID:
    office.post("/v1/prescribers/imports", places("ccas"))
    (found,) = office.get("/v1/prescribers").json["items"]  # type: ignore[index]
    return UUID(found["prescriber_id"])


def registered(office: Office, role: str = "admin", scope: UUID | None = None) -> tuple[str, str]:
    """A client's id and its secret."""
    body = {"name": "Logiciel du CCAS", "role": role, "scope": str(scope) if scope else None}
    client = office.made(office.post("/v1/oauth/clients", body))
    return client["client_id"], secret_of(office, client["client_id"])


def secret_of(office: Office, client_id: str) -> str:
    made: str = office.made(office.post(f"/v1/oauth/clients/{client_id}/secrets", None))["client_secret"]
    return made


def ask(office: Office, client_id: str, secret: str, **more: Any) -> TestResponse:
    form = {"grant_type": CREDENTIALS, "client_id": client_id, "client_secret": secret, **more}
    return office.service.app.test_client().post("/v1/oauth/token", data=form)


def test_a_secret_gets_a_token_of_ten_minutes_for_this_service_alone(
    office: Office, prescriber: UUID, redeemer: ServiceUnderTest
) -> None:
    answer = ask(office, *registered(office, "prescriber", prescriber))
    assert (answer.status_code, answer.headers["Cache-Control"], answer.headers["Pragma"]) == (
        200,
        "no-store",
        "no-cache",
    )
    body = answer.get_json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 600, f"prescriber:{prescriber}")
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["aud"] == ["issuer"]
    assert claims["exp"] - claims["iat"] == pytest.approx(600, abs=1)
    assert call(office.service, body["access_token"]).status_code == 200
    assert call(redeemer, body["access_token"], "/v1/structures").status_code == 401


def test_the_secret_may_stand_in_the_authorization_header_but_not_in_both(office: Office) -> None:
    client_id, secret = registered(office)
    basic = {"Authorization": f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"}
    client = office.service.app.test_client()
    assert client.post("/v1/oauth/token", data={"grant_type": CREDENTIALS}, headers=basic).status_code == 200
    both = {"grant_type": CREDENTIALS, "client_secret": secret}
    assert client.post("/v1/oauth/token", data=both, headers=basic).get_json()["error"] == "invalid_request"


@pytest.mark.parametrize("wrong", ["secret", "client", "nonsense"])
def test_a_wrong_secret_and_an_unknown_client_are_told_the_same(office: Office, wrong: str) -> None:
    client_id, secret = registered(office)
    credentials = {"secret": (client_id, secret + "x"), "client": (str(uuid4()), secret), "nonsense": ("é\0", "")}[
        wrong
    ]
    answer = ask(office, *credentials)
    body = answer.get_json()
    assert (answer.status_code, answer.content_type, body["error"]) == (401, "application/json", "invalid_client")
    assert body["detail"] == "There is no such client, or it has another secret."
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": [CREDENTIALS, CREDENTIALS]}, "invalid_request"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}, "unsupported_grant_type"),
    ],
)
def test_a_request_that_is_not_one_is_told_so(office: Office, form: dict[str, Any], error: str) -> None:
    answer = office.service.app.test_client().post("/v1/oauth/token", data=form)
    assert (answer.status_code, answer.get_json()["error"]) == (400, error)


def test_two_secrets_are_good_while_one_follows_the_other_and_no_third(office: Office) -> None:
    client_id, first = registered(office)
    second = secret_of(office, client_id)
    assert [ask(office, client_id, secret).status_code for secret in (first, second)] == [200, 200]
    assert office.post(f"/v1/oauth/clients/{client_id}/secrets", None).status_code == 409
    old = office.get(f"/v1/oauth/clients/{client_id}").json["secrets"][0]["secret_id"]  # type: ignore[index]
    path = f"/v1/oauth/clients/{client_id}/secrets/{old}"
    left = office.service.client.delete(path, headers=office.service.headers("admin")).get_json()
    assert len(left["secrets"]) == 1
    assert [ask(office, client_id, secret).status_code for secret in (first, second)] == [401, 200]


def test_a_secret_that_is_asked_for_again_is_neither_made_nor_shown_twice(office: Office) -> None:
    client_id, _ = registered(office)
    path, headers = f"/v1/oauth/clients/{client_id}/secrets", office.service.headers("admin", key="k")
    first = office.service.client.post(path, headers=headers)
    again = office.service.client.post(path, headers=headers)
    assert first.status_code == 201
    assert (again.status_code, again.get_json()["type"]) == (409, "urn:souche:idempotency-answer-gone")
    secret = first.get_json()["client_secret"]
    assert len(office.get(f"/v1/oauth/clients/{client_id}").json["secrets"]) == 2  # type: ignore[index]
    with office.service.runtime.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM idempotent_answer WHERE key = 'k'").all()
    assert len(kept) == 1
    assert secret not in repr(kept)


def test_no_secret_is_kept_or_shown_again(office: Office) -> None:
    client_id, secret = registered(office)
    assert secret not in office.get(f"/v1/oauth/clients/{client_id}").text
    with office.service.runtime.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM oauth_secret").all()
        answers = connection.exec_driver_sql("SELECT body FROM idempotent_answer").all()
    assert secret not in repr(kept) + repr(answers)


def test_a_disabled_client_is_let_in_no_more_and_its_tokens_end(office: Office) -> None:
    client_id, secret = registered(office)
    token = ask(office, client_id, secret).get_json()["access_token"]
    path = f"/v1/oauth/clients/{client_id}/suspension"
    office.made(office.post(path, {"reason": "Poste volé"}), 200)
    assert ask(office, client_id, secret).status_code == 401
    refused = eventually_refused(office.service, token)
    assert refused.headers["WWW-Authenticate"].endswith('error_description="The token was revoked."')
    office.service.client.delete(path, headers=office.service.headers("admin"))
    fresh = ask(office, client_id, secret).get_json()["access_token"]
    assert (call(office.service, token).status_code, call(office.service, fresh).status_code) == (401, 200)


@pytest.mark.parametrize(
    ("role", "scope"), [("service", None), ("structure", uuid4()), ("prescriber", uuid4()), ("admin", uuid4())]
)
def test_a_client_has_no_role_or_scope_that_this_service_does_not_know(office: Office, role: str, scope: UUID) -> None:
    body = {"name": "x", "role": role, "scope": str(scope) if scope else None}
    assert office.post("/v1/oauth/clients", body).status_code == 422


def guess(office: Office, times: int, client_id: str = "") -> list[int]:
    """The answers to so many guesses of one minute, of one client's secret or each of another's."""
    while True:
        minute = clock.now().minute
        office.service.app.extensions["souche"].token_lockout = token_lockout.TokenLockout(office.service.runtime)
        answers = [ask(office, client_id or str(uuid4()), "guess").status_code for _ in range(times)]
        if clock.now().minute == minute:
            return answers


def test_guessing_is_locked_out_by_address_and_nobody_else_is(office: Office) -> None:
    client_id, secret = registered(office)
    assert guess(office, 15, client_id) == [401] * token_lockout.PER_CLIENT + [429] * 5
    locked = ask(office, client_id, secret)
    assert (locked.status_code, locked.get_json()["error"]) == (429, "slow_down")
    assert 0 < int(locked.headers["Retry-After"]) <= 60
    elsewhere = office.service.app.test_client().post(
        "/v1/oauth/token",
        data={"grant_type": CREDENTIALS, "client_id": client_id, "client_secret": secret},
        environ_base={"REMOTE_ADDR": "192.0.2.7"},
    )
    assert elsewhere.status_code == 200


def test_what_is_sent_in_the_place_of_the_id_is_not_logged(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """It may be the secret, sent the wrong way round."""
    client_id, secret = registered(office)
    assert 429 in guess(office, 12, secret)
    assert "token_lockout" in caplog.text
    assert secret not in caplog.text
    caplog.clear()
    guess(office, token_lockout.PER_CLIENT, client_id)
    assert client_id in caplog.text


def test_another_process_knows_who_is_locked_out(office: Office) -> None:
    client_id, secret = registered(office)
    guess(office, token_lockout.PER_CLIENT, client_id)
    office.service.app.extensions["souche"].token_lockout = token_lockout.TokenLockout(office.service.runtime)
    assert ask(office, client_id, secret).status_code == 429


def test_guessing_many_clients_from_one_address_is_locked_out_and_a_good_secret_there_is_not(office: Office) -> None:
    client_id, secret = registered(office)
    assert guess(office, token_lockout.PER_ADDRESS + 3) == [401] * token_lockout.PER_ADDRESS + [429] * 3
    assert ask(office, client_id, secret).status_code == 200


def test_the_document_says_how_a_token_is_asked_for_and_refused(issuer: ServiceUnderTest) -> None:
    described = issuer.client.get("/openapi.json").get_json()["paths"]["/v1/oauth/token"]["post"]
    assert described["security"] == []
    assert list(described["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]
    for status in ("400", "401", "429"):
        assert list(described["responses"][status]["content"]) == ["application/json"]
