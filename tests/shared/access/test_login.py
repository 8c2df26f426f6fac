"""Who was let in and who was refused is in the audit trail, without secrets, and nobody fills it by knocking."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from demo.simulators.provider import CLIENT_ID, IDENTITY_PROVIDER, LocalProvider, provider
from shared.access import token_lockout
from shared.access.login import MAX_REFUSALS, Refusals
from shared.audit import hash_chain
from shared.audit.trail import ENTRY
from tests.harness import ServiceUnderTest
from tests.issuer.office import Office
from tests.shared.access.test_clients import ask, registered
from tests.shared.access.test_people import CCAS, exchange, join

ELSEWHERE = "192.0.2.7"


@pytest.fixture(scope="module")
def proconnect() -> Iterator[LocalProvider]:
    with provider() as local:
        yield local


@pytest.fixture
def operator_settings(proconnect: LocalProvider) -> Mapping[str, str]:
    return {"OIDC_ISSUER": proconnect.address, "OIDC_CLIENT_IDS": CLIENT_ID}


@pytest.fixture
def office(issuer: ServiceUnderTest) -> Office:
    """An issuer at which nobody has knocked yet."""
    issuer.app.extensions["souche"].token_lockout = token_lockout.TokenLockout(issuer.runtime)
    issuer.app.extensions["souche"].login_refusals = Refusals(issuer.runtime)
    return Office(issuer)


def logins(office: Office) -> list[dict[str, Any]]:
    found = sa.select(ENTRY).where(ENTRY.c.action == "login").order_by(ENTRY.c.sequence)
    with office.service.runtime.engine.connect() as connection:
        return [dict(row) for row in connection.execute(found).mappings()]


def from_address(office: Office, address: str, **form: str) -> int:
    client = office.service.app.test_client()
    return client.post("/v1/oauth/token", data=form, environ_base={"REMOTE_ADDR": address}).status_code


def test_a_program_leaves_one_entry_a_day_from_each_address(office: Office) -> None:
    client_id, secret = registered(office)
    for _ in range(3):
        assert ask(office, client_id, secret).status_code == 200
    credentials = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    assert from_address(office, ELSEWHERE, **credentials) == 200
    [here, elsewhere] = logins(office)
    assert (here["role"], here["subject"], here["outcome"]) == ("admin", f"client:{client_id}", "done")
    assert here["object_id"] == here["subject"]
    assert here["after"] == {"by": "secret"}
    assert here["request_id"]
    assert [here["address"], elsewhere["address"]] == ["127.0.0.1", ELSEWHERE]


def test_a_person_leaves_one_entry_for_each_login_and_role(office: Office, proconnect: LocalProvider) -> None:
    join(office, "alienor", "finance")
    join(office, "alienor", "operations")
    login = proconnect.token("alienor")
    for scope in ("finance", "finance", "operations"):
        assert exchange(office.service, login, scope=scope).status_code == 200
    assert exchange(office.service, proconnect.token("alienor"), scope="finance").status_code == 200
    found = logins(office)
    assert [entry["role"] for entry in found] == ["finance", "operations", "finance"]
    assert {entry["subject"] for entry in found} == {f"{IDENTITY_PROVIDER}|alienor"}
    assert all(entry["after"]["logged_in_at"] for entry in found)
    assert "Dupont" not in json.dumps(found, default=str)


def test_the_trail_holds_and_an_admin_reads_logins_there(office: Office) -> None:
    ask(office, *registered(office))
    page = office.made(office.get("/v1/audit?object_kind=login"), 200)["items"]
    assert [entry["action"] for entry in page] == ["login"]
    hash_chain.verify(office.service.runtime.engine, "issuer")


class TestWhoIsRefused:
    def test_is_named_where_that_is_an_identifier_and_never_by_what_was_presented(self, office: Office) -> None:
        client_id, _ = registered(office)
        presented = "souche_what-somebody-tried"
        ask(office, client_id, presented)
        ask(office, "0123-4567-89AB-CDEF-G", presented)
        [named, unnamed] = logins(office)
        assert (named["object_id"], unnamed["object_id"]) == (client_id, None)
        assert (named["role"], named["subject"], named["outcome"]) == ("nobody", "-", "refused")
        assert named["after"] == {"error": "invalid_client", "locked_out": False, "not_written_since": 0}
        assert presented not in json.dumps([named, unnamed], default=str)
        assert "0123" not in json.dumps(unnamed["after"])

    def test_is_written_down_when_a_lock_out_begins(self, office: Office) -> None:
        client_id, _ = registered(office)
        for _ in range(token_lockout.PER_CLIENT + 3):
            ask(office, client_id, "wrong")
        entries = logins(office)
        assert sum(entry["after"]["locked_out"] for entry in entries) == 1
        assert len(entries) == token_lockout.PER_CLIENT

    def test_is_a_person_whom_the_provider_vouches_for_and_nobody_here_knows(
        self, office: Office, proconnect: LocalProvider
    ) -> None:
        assert exchange(office.service, proconnect.token("mallory", CCAS)).status_code == 400
        [entry] = logins(office)
        assert (entry["object_id"], entry["after"]["error"]) == (f"{IDENTITY_PROVIDER}|mallory", "invalid_grant")

    def test_is_nobody_who_was_only_asked_as_whom(self, office: Office, proconnect: LocalProvider) -> None:
        join(office, "alienor", "finance")
        join(office, "alienor", "operations")
        assert exchange(office.service, proconnect.token("alienor")).status_code == 400
        assert logins(office) == []

    def test_does_not_fill_the_trail_and_how_often_is_told_afterwards(self, office: Office) -> None:
        form = {"grant_type": "client_credentials", "client_secret": "wrong"}
        for number in range(60):
            from_address(office, f"192.0.2.{number}", **form, client_id=str(uuid4()))
        assert len(logins(office)) == MAX_REFUSALS
        refusals: Refusals = office.service.app.extensions["souche"].login_refusals
        refusals._first._since -= 3600
        from_address(office, ELSEWHERE, **form, client_id=str(uuid4()))
        assert logins(office)[-1]["after"]["not_written_since"] == 60 - MAX_REFUSALS

    def test_from_one_network_of_ipv6_is_locked_out_whatever_address_of_it_it_takes(self, office: Office) -> None:
        form = {"grant_type": "client_credentials", "client_secret": "wrong"}
        for number in range(token_lockout.PER_ADDRESS):
            assert from_address(office, f"2001:db8::{number:x}", **form, client_id=str(uuid4())) == 401
        assert from_address(office, "2001:db8::ffff", **form, client_id=str(uuid4())) == 429
        assert from_address(office, "2001:db8:0:1::1", **form, client_id=str(uuid4())) == 401
