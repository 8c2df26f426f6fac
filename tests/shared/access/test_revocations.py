"""Tokens taken back before their time are refused by every process within seconds, and no other token is."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import jwt
import pytest
import sqlalchemy as sa

from services.issuer import create_app
from shared.access.revocations import FRESH_SECONDS
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.shared.access.calling import call, eventually_refused


def revoke(service: ServiceUnderTest, kind: str, value: str) -> Mapping[str, Any]:
    body = {"kind": kind, "value": value, "reason": "Ordinateur perdu"}
    answer = service.app.test_client().post("/v1/revocations", json=body, headers=service.headers("admin"))
    assert answer.status_code == 201, answer.text
    found: Mapping[str, Any] = answer.get_json()
    return found


def jti(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


def test_one_token_is_taken_back_and_the_holders_others_stay(issuer: ServiceUnderTest) -> None:
    subject = f"agent {uuid4()}"
    lost, other = issuer.token("finance", subject=subject), issuer.token("finance", subject=subject)
    assert call(issuer, lost).status_code == 200
    assert revoke(issuer, "token", jti(lost))["until"] is None
    eventually_refused(issuer, lost)
    assert call(issuer, other).status_code == 200


def test_all_that_somebody_had_is_taken_back_and_what_they_get_next_is_not(issuer: ServiceUnderTest) -> None:
    subject = f"agent {uuid4()}"
    before = issuer.token("finance", subject=subject)
    revoke(issuer, "subject", subject)
    after = issuer.token("finance", subject=subject)
    eventually_refused(issuer, before)
    assert call(issuer, after).status_code == 200
    assert call(issuer, issuer.token("finance", subject="somebody else")).status_code == 200


def test_all_tokens_of_a_prescriber_are_taken_back_whoever_holds_them(issuer: ServiceUnderTest) -> None:
    scope, neighbour = new_id(), new_id()
    first, second = issuer.token("prescriber", scope, "one"), issuer.token("prescriber", scope, "two")
    revoke(issuer, "scope", str(scope))
    for token in (first, second):
        eventually_refused(issuer, token)
    assert call(issuer, issuer.token("prescriber", neighbour, "one")).status_code == 200


def test_another_process_knows_within_seconds_and_does_not_ask_with_every_request(issuer: ServiceUnderTest) -> None:
    elsewhere = ServiceUnderTest(create_app(issuer.settings), issuer.settings, issuer.signer, issuer.environ)
    token = issuer.token("finance", subject=f"agent {uuid4()}")
    questions: list[str] = []
    sa.event.listen(elsewhere.runtime.engine, "before_cursor_execute", lambda *args: questions.append(args[2]))
    assert call(elsewhere, token).status_code == 200
    revoke(issuer, "token", jti(token))
    began = time.monotonic()
    eventually_refused(elsewhere, token)
    assert time.monotonic() - began < FRESH_SECONDS + 5
    for _ in range(50):
        call(elsewhere, token)
    assert sum("revocation" in question for question in questions) <= 4


@pytest.mark.parametrize(("role", "expected"), [("admin", 200), ("operations", 200), ("finance", 403)])
def test_what_is_revoked_is_listed_for_those_who_watch(issuer: ServiceUnderTest, role: str, expected: int) -> None:
    revoke(issuer, "subject", "somebody")
    answer = issuer.client.get("/v1/revocations", headers=issuer.headers(role))
    assert answer.status_code == expected
    if expected == 200:
        (found,) = answer.get_json()["items"]
        assert (found["value"], found["reason"], found["revoked_by"]) == (
            "somebody",
            "Ordinateur perdu",
            "admin:-:test",
        )
