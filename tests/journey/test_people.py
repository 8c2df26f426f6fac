"""A marked name through the whole system: it stands sealed in one table, and nowhere else; and it can be forgotten."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import request
from werkzeug.test import TestResponse

from demo.stack.embedded import EmbeddedPostgres
from services.issuer.people.identities import Identities, Identity
from services.issuer.people.models import Beneficiary
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.reconciliation import comparing
from shared.access.tokens import reach_of
from shared.settings.settings import SERVICES
from tests.journey.conftest import World
from tests.journey.names import broker, databases, dump, found, spellings
from tests.journey.test_switch import Town
from tests.journey.test_whole_path import assert_balanced
from tests.operator_bridge.switching.conftest import operator, operator_settings
from tests.operator_bridge.switching.town import Operator

__all__ = ["operator", "operator_settings"]

FAMILY, GIVEN = "Xylophène-Dragomîr", "Quërtzaline"
PERSON = {"family_name": FAMILY, "given_name": GIVEN, "birth_date": "1931-07-23"}
WRITTEN_OTHERWISE = {"family_name": "XYLOPHENE DRAGOMIR", "given_name": "quertzaline", "birth_date": "1931-07-23"}
NAMES = (FAMILY, GIVEN, "Xylophène", "Dragomîr")
# What tells of people, to those who may know.
OF_PEOPLE = ("/v1/people",)


@pytest.fixture
def heard(operator: Operator) -> list[bytes]:
    """Everything that the operator is sent."""
    messages: list[bytes] = []

    @operator.simulator.app.before_request
    def _listen() -> None:
        messages.append(request.full_path.encode() + str(request.headers).encode() + request.get_data())

    return messages


def asked(world: World, body: dict[str, Any], path: str = "/v1/grants") -> TestResponse:
    return world.call("issuer", "POST", path, "prescriber", body, scope=world.prescriber)


def granted(world: World, person: dict[str, str]) -> dict[str, Any]:
    """A grant of a person, with an amount and a reason that says nothing of them."""
    body = {"programme": "pass-numerique", "amount_cents": 5000, "reason": "evaluation", "beneficiary": person}
    answer = asked(world, body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.get_json()
    return made


def bulk(world: World) -> None:
    """A file with the person in it, well and badly written."""
    heads = "programme,amount_cents,reason,reference,family_name,given_name,birth_date"
    lines = [
        f"pass-numerique,5000,evaluation,b-1,{FAMILY},{GIVEN},23/07/1931",
        f"pass-numerique,5000,evaluation,b-2,{FAMILY},{GIVEN},31/02/1931",
        f'pass-numerique,5000,evaluation,b-3,"{FAMILY},{GIVEN},23/07/1931',
        f"{FAMILY},5000,evaluation,b-4,{FAMILY},{GIVEN},23/07/1931",
    ]
    content = "\n".join((heads, *lines))
    report = world.ask("issuer", "POST", "/v1/grants/bulk", "prescriber", content, scope=world.prescriber)
    assert (report["accepted"], report["refused"]) == (1, 3)


def spend(world: World, town: Town, operator: Operator) -> list[dict[str, Any]]:
    """The life of the person's cheques: granted, refused, spent, lost, cancelled, moved to an operator, paid."""
    one, two = granted(world, PERSON), granted(world, WRITTEN_OTHERWISE)
    assert two["previous_grants"] == 1
    bulk(world)
    preview = {"programme": "pass-numerique", "amount_cents": 5000, "beneficiary": PERSON}
    assert asked(world, preview, "/v1/assessments").status_code == 200
    assert asked(world, preview | {"birth_date": FAMILY}).status_code == 422
    assert asked(world, {**preview, "programme": FAMILY}).status_code == 422
    town.work()
    first = town.contract("docaposte", "first")
    assert world.present(*(cheque["code"] for cheque in one["cheques"][:2])).status_code == 201
    ids = [cheque["cheque_id"] for cheque in one["cheques"]]
    naming = {"cheque_ids": ids[2:3], "reason": f"{FAMILY} ?"}
    assert asked(world, naming, "/v1/blocks").status_code == 422
    lost = {"cheque_ids": ids[2:3], "reason": "lost", "cause": "lost"}
    assert asked(world, lost, "/v1/replacements").status_code == 202
    assert asked(world, {"cheque_ids": ids[3:4], "reason": "unwanted"}, "/v1/cancellations").status_code == 202
    town.work()
    town.in_hand = [cheque["code"] for cheque in two["cheques"]]
    town.switch(world.contract, first, "handover")
    town.work()
    operator.simulator.pay()
    statement_polling.poll(town.bridge, first)
    comparing.compare(town.bridge, first)
    town.work()
    return [one, two]


def person_of(world: World) -> UUID:
    return UUID(world.ask("issuer", "POST", "/v1/people/searches", "admin", PERSON)["person_id"])


def read(world: World, service: str) -> Iterator[tuple[str, bytes]]:
    """What each role reads at each address of a service that needs no identifier, but those that tell of people."""
    under_test = world.services[service]
    scopes = {"prescriber": world.prescriber, "structure": world.structure}
    for rule in under_test.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.arguments or rule.rule.startswith(OF_PEOPLE):
            continue
        for role in sorted(reach_of(under_test.app.view_functions[rule.endpoint]) or {"admin"}):
            headers = under_test.headers(role, scopes.get(role), subject="operator_bridge")
            answer = under_test.app.test_client().get(f"{rule.rule}?limit=500", headers=headers)
            yield f"{service} {rule.rule} as {role}", answer.data


def everything_read(world: World) -> dict[str, bytes]:
    return {where: content for service in SERVICES for where, content in read(world, service)}


@pytest.mark.slow
def test_a_name_stands_sealed_in_one_table_and_nowhere_else(
    world: World,
    operator: Operator,
    heard: list[bytes],
    postgres: EmbeddedPostgres,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        spend(world, Town(world), operator)
        person = person_of(world)
        for path in ("", "/export.json", "/letter.pdf"):
            answer = world.call("issuer", "GET", f"/v1/people/{person}{path}", "prescriber", scope=world.prescriber)
            assert answer.status_code == 200
    issuer = world.services["issuer"]
    heaps = {
        **databases(postgres),
        **everything_read(world),
        "redis": broker(issuer.environ["REDIS_URL"]),
        "logs": "\n".join({f"{record.getMessage()} {record.msg} {record.args}" for record in caplog.records}).encode(),
        "sent to the operator": b"\n".join(heard),
        "the operator's books": repr(vars(operator.simulator.register)).encode(),
    }
    assert all(heaps[heap] for heap in heaps if heap.startswith("database") or heap in ("logs", "sent to the operator"))
    assert found(NAMES, heaps) == {}
    with issuer.runtime.transaction() as session:
        [row] = session.scalars(sa.select(Beneficiary))
        opened = Identities(issuer.settings.keys).open(row)
        assert (opened.family_name, opened.given_name) == (FAMILY, GIVEN)
        assert row.sealed_identity.hex().encode() in heaps["database issuer"]
        assert not found([row.sealed_identity.hex(), row.digest.hex(), str(row.id)], everyones_but(heaps, "issuer"))


def everyones_but(heaps: Mapping[str, bytes], service: str) -> dict[str, bytes]:
    """What the other services, the broker and the operator have."""
    own = (f"database {service}", service, "logs")
    return {heap: content for heap, content in heaps.items() if not heap.startswith(own)}


def test_the_search_finds_a_name_however_it_is_hidden(world: World, postgres: EmbeddedPostgres) -> None:
    body = {"programme": "pass-numerique", "amount_cents": 5000, "reason": f"for {FAMILY.upper()}"}
    assert asked(world, body | {"reference": GIVEN}).status_code == 201
    assert set(found(NAMES, databases(postgres))) == {"database issuer"}
    assert len(spellings(FAMILY)) > 50
    for hidden in (FAMILY.encode().hex(), FAMILY.encode("unicode_escape").decode(), "xylophene dragomir"):
        assert found(NAMES, {"heap": f"xx{hidden}xx".encode()})


@pytest.mark.slow
def test_forgetting_somebody_changes_no_figure_of_any_service(
    world: World, operator: Operator, postgres: EmbeddedPostgres
) -> None:
    town = Town(world)
    grants = spend(world, town, operator)
    town.work()
    person = person_of(world)
    before, tables = figures(world), {schema: dump(postgres, schema) for schema in ("redeemer", "operator_bridge")}
    left = world.ask("issuer", "POST", f"/v1/people/{person}/erasure", "admin")
    assert left["grants"] == 3
    assert figures(world) == before
    assert {schema: dump(postgres, schema) for schema in tables} == tables
    assert_balanced(world)
    last = grants[0]["cheques"][4]
    assert world.present(last["code"]).status_code == 201  # a cheque is cash: nobody has to say who they are
    town.work()
    assert_balanced(world)


def figures(world: World) -> dict[str, bytes]:
    """What is read of all three services, but what was written in somebody's own words, who did what, and measures."""
    changing = ("/v1/grants ", "/v1/grants/export.csv", "/v1/replacements", "/v1/erasures", "/metrics", "/v1/audit")
    read = everything_read(world)
    assert any("/v1/reports/conventions" in where for where in read)
    return {where: content for where, content in read.items() if not any(path in where for path in changing)}


def test_a_person_reads_as_it_was_given(world: World) -> None:
    granted(world, PERSON)
    shown = world.ask("issuer", "GET", f"/v1/people/{person_of(world)}", "admin")
    assert shown["identity"] == PERSON
    assert Identity(FAMILY, GIVEN, shown["identity"]["birth_date"]) is not None
