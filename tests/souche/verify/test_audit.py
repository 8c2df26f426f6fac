"""`souche verify` names the first entry that was tampered with, and sees against an anchor that an end was cut off."""

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from shared.audit import trail
from souche.commands.verify import verify
from tests.harness import ServiceUnderTest


@pytest.fixture
def services(
    issuer: ServiceUnderTest, redeemer: ServiceUnderTest, bridge: ServiceUnderTest
) -> dict[str, ServiceUnderTest]:
    """Three services with five entries each."""
    found = {service.settings.service: service for service in (issuer, redeemer, bridge)}
    for service in found.values():
        with service.runtime.transaction() as session, trail.acting(trail.system("test")):
            trail.record(session, "thing", range(5))
    return found


@pytest.fixture
def run(services: dict[str, ServiceUnderTest]) -> Callable[..., Result]:
    environ = dict(services["issuer"].environ)
    return lambda *options: CliRunner(env=environ).invoke(verify, ["--wait", "0", *options])


def by_hand(owner: sa.Engine, sql: str) -> None:
    with sa.create_engine(owner.url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(sql)


def anchors(result: Result) -> dict[str, str]:
    assert result.exit_code == 0, result.output
    return {line.partition(":")[0]: line for line in re.findall(r"\w+:\d+:[0-9a-f]{64}", result.output)}


def test_whole_trails_are_shown_with_their_heads(run: Callable[..., Result]) -> None:
    heads = anchors(run())
    assert list(heads) == ["issuer", "redeemer", "operator_bridge"]
    assert all(":5:" in head for head in heads.values())
    again = run(*(word for head in heads.values() for word in ("--anchor", head)))
    assert anchors(again) == heads


@pytest.mark.parametrize("schema", ["issuer", "redeemer", "operator_bridge"])
def test_a_changed_entry_of_any_service_is_named(run: Callable[..., Result], owner: sa.Engine, schema: str) -> None:
    anchors(run())
    by_hand(owner, f"UPDATE {schema}.audit_entry SET object_id = '9' WHERE position = 4")
    result = run()
    assert result.exit_code == 1
    assert f"the audit trail was tampered with: {schema}: entry 4 " in result.output


def test_a_missing_entry_is_named(run: Callable[..., Result], owner: sa.Engine) -> None:
    anchors(run())
    by_hand(owner, "DELETE FROM redeemer.audit_entry WHERE position = 2")
    assert "redeemer: entry 2 is missing" in run().output


def test_an_end_that_is_missing_is_seen_with_an_anchor(run: Callable[..., Result], owner: sa.Engine) -> None:
    head = anchors(run())["issuer"]
    by_hand(owner, "DELETE FROM issuer.audit_entry WHERE position > 2")
    assert run().exit_code == 0
    result = run("--anchor", head)
    assert result.exit_code == 1
    assert "issuer: the chain ends at entry 2, and there was an entry 5" in result.output


@pytest.mark.parametrize("text", ["issuer", "issuer:1:xyz", "nobody:1:00"])
def test_what_is_no_anchor_is_said_to_be_none(run: Callable[..., Result], text: str) -> None:
    result = run("--anchor", text)
    assert result.exit_code == 2
    assert "anchor" in result.output or "no service" in result.output
