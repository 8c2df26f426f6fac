"""Which tokens a service takes: its own audience, keys that are live, now, give or take half a minute."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask

from services.issuer import create_app
from shared.access import tokens as auth
from shared.access.tokens import Role
from shared.settings import settings
from shared.settings.settings import SERVICES, read_keys, write_key
from shared.values import clock
from souche.keys import ADD, DROP, USE, Signer, rotated
from tests.harness import ServiceUnderTest
from tests.shared.access.calling import call

Service = Callable[[str], ServiceUnderTest]


def forged(signer: Signer, algorithm: str = "EdDSA", key: Any = None, **changes: Any) -> str:
    """A token whose claims are as said; None leaves one out."""
    now = clock.now().timestamp()
    claims = {
        "iss": auth.ISSUER, "aud": list(SERVICES), "sub": "x", "role": "admin", "iat": now, "exp": now + 60, "jti": "1",
        **changes,
    }  # fmt: skip
    present = {name: value for name, value in claims.items() if value is not None}
    signed_by = key if key is not None else Ed25519PrivateKey.from_private_bytes(signer.private_key)
    return jwt.encode(present, signed_by, algorithm=algorithm, headers={"kid": signer.key_id})


def status(service: ServiceUnderTest, token: str) -> int:
    return call(service, token, "/v1/revocations").status_code


@pytest.mark.parametrize("audience", SERVICES)
def test_a_token_is_good_at_the_services_it_names_and_nowhere_else(service: Service, audience: str) -> None:
    for name in SERVICES:
        under_test = service(name)
        token = under_test.signer.token("admin", audience=(audience,))
        assert status(under_test, token) == (200 if name == audience else 401)


@pytest.mark.parametrize("name", SERVICES)
def test_a_services_own_token_does_not_open_itself(service: Service, name: str) -> None:
    under_test = service(name)
    token = under_test.settings.service_token
    assert call(under_test, token, "/v1/events").status_code == 401
    for other in set(SERVICES) - {name}:
        assert call(service(other), token, "/v1/events").status_code == 200


def test_a_service_cannot_make_a_token_for_another(issuer: ServiceUnderTest, redeemer: ServiceUnderTest) -> None:
    key_id, key = next(iter(redeemer.settings.signing_keys.items()))
    for named in (auth.own_key_id("redeemer", key_id), auth.own_key_id("issuer", key_id), key_id):
        token = auth.issue(named, key, role=Role.ADMIN, subject="redeemer", audience=SERVICES)
        assert status(issuer, token) == 401


@pytest.mark.parametrize(("seconds", "expected"), [(-20, 200), (20, 200), (45, 401), (600, 401)])
def test_the_clock_that_dated_a_token_may_be_half_a_minute_ahead(
    issuer: ServiceUnderTest, seconds: int, expected: int
) -> None:
    now = clock.now().timestamp()
    assert status(issuer, forged(issuer.signer, iat=now + seconds, exp=now + 900)) == expected
    assert status(issuer, forged(issuer.signer, nbf=now + seconds, exp=now + 900)) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(20, 200), (-20, 200), (-45, 401)])
def test_a_token_ends_half_a_minute_late_at_most(issuer: ServiceUnderTest, seconds: int, expected: int) -> None:
    assert status(issuer, issuer.signer.token("admin", lifetime=timedelta(seconds=seconds))) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": None}, {"aud": "redeemer"}, {"aud": []}, {"jti": None}, {"exp": None}, {"iat": None}, {"sub": None},
        {"role": None}, {"role": "king"}, {"role": "structure"}, {"scope": "018f2c00-0000-7000-8000-000000000000"},
        {"iss": "another"}, {"exp": "never"}, {"iat": "today"}, {"sub": 7}, {"sub": "a\0b"}, {"sub": "a\nb"},
        {"sub": "x" * 601}, {"sub": ""}, {"jti": [1]}, {"role": ["admin"]}, {"scope": 5},
    ],
)  # fmt: skip
def test_a_token_that_lacks_something_is_refused(issuer: ServiceUnderTest, changes: dict[str, Any]) -> None:
    assert status(issuer, forged(issuer.signer)) == 200
    assert status(issuer, forged(issuer.signer, **changes)) == 401


def test_a_token_whose_end_is_written_as_text_opens_nothing_that_breaks(issuer: ServiceUnderTest) -> None:
    now = clock.now().timestamp()
    assert status(issuer, forged(issuer.signer, exp=str(int(now + 60)))) == 200
    assert status(issuer, forged(issuer.signer, exp="9" * 400)) == 401


@pytest.mark.parametrize("subject", ["", "a\nb", "x" * 601])
def test_a_subject_that_cannot_be_written_down_gets_no_token(issuer: ServiceUnderTest, subject: str) -> None:
    with pytest.raises(ValueError, match="A subject is a line"):
        issuer.signer.token("admin", subject=subject)


def test_a_token_without_a_signature_or_with_the_public_key_as_a_secret_is_refused(issuer: ServiceUnderTest) -> None:
    assert status(issuer, forged(issuer.signer, "none", "")) == 401
    assert status(issuer, forged(issuer.signer, "HS256", issuer.signer.public_key)) == 401


def test_a_header_that_nests_without_end_is_refused(issuer: ServiceUnderTest) -> None:
    header = base64.urlsafe_b64encode(b'{"kid": ' + b"[" * 20_000 + b"]" * 20_000 + b"}").decode().rstrip("=")
    assert status(issuer, f"{header}.e30.x") == 401


def test_refusals_are_told_as_rfc_6750_says(issuer: ServiceUnderTest) -> None:
    bare = issuer.client.get("/v1/grants")
    assert bare.headers["WWW-Authenticate"] == "Bearer"
    late = call(issuer, issuer.signer.token("admin", lifetime=timedelta(minutes=-5)))
    assert late.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="The token has expired."'
    )
    elsewhere = call(issuer, issuer.signer.token("admin", audience=("redeemer",)))
    assert "The token is for another service." in elsewhere.headers["WWW-Authenticate"]
    low = call(issuer, issuer.token("finance"), "/v1/oauth/clients")
    assert (low.status_code, low.headers["WWW-Authenticate"]) == (
        403,
        'Bearer error="insufficient_scope", scope="admin"',
    )


def test_two_signing_keys_are_live_while_one_follows_the_other(issuer: ServiceUnderTest) -> None:
    environ = dict(issuer.environ)
    body = {"name": "x", "role": "admin"}
    client_id = issuer.client.post("/v1/oauth/clients", json=body, headers=issuer.headers("admin")).json["client_id"]  # type: ignore[index]
    path = f"/v1/oauth/clients/{client_id}/secrets"
    secret = issuer.client.post(path, headers=issuer.headers("admin")).json["client_secret"]  # type: ignore[index]
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    tokens = {"before": got(issuer.app, form)}
    good = {}
    for step in (ADD, USE, DROP):
        ring = rotated(read_keys(environ["ISSUER_SIGNING_KEYS"]), step)
        environ["ISSUER_SIGNING_KEYS"] = ",".join(write_key(key_id, key) for key_id, key in ring.items())
        process = create_app(settings.load("issuer", environ))
        tokens[step] = got(process, form)
        good[step] = {name for name, token in tokens.items() if taken(process, token)}
        process.extensions["souche"].runtime.engine.dispose()
    assert good == {ADD: {"before", ADD}, USE: {"before", ADD, USE}, DROP: {USE, DROP}}
    named = {name: jwt.get_unverified_header(token)["kid"] for name, token in tokens.items()}
    assert named == {"before": "issuer/k1", ADD: "issuer/k1", USE: "issuer/k2", DROP: "issuer/k2"}


def got(process: Flask, form: dict[str, str]) -> str:
    answer = process.test_client().post("/v1/oauth/token", data=form)
    return str(json.loads(answer.data)["access_token"])


def taken(process: Flask, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return process.test_client().get("/v1/grants", headers=headers).status_code == 200


def test_who_called_is_what_trusted_proxies_say_and_nobody_else(issuer: ServiceUnderTest) -> None:
    seen = []
    for proxies in ("0", "1"):
        process = create_app(settings.load("issuer", dict(issuer.environ) | {"TRUSTED_PROXIES": proxies}))
        headers = {"X-Forwarded-For": "203.0.113.5, 192.0.2.9", "X-Forwarded-Proto": "https"}
        answer = process.test_client().get("/healthz", headers=headers)
        seen.append("Strict-Transport-Security" in answer.headers)
        process.extensions["souche"].runtime.engine.dispose()
    assert seen == [False, True]
