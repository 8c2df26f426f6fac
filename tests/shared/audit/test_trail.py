"""The audit trail of every service: what leaves entries, who may touch them, and what a chain shows."""

import ast
import re
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError, ProgrammingError

from shared.access.tokens import reach_of, roles
from shared.audit import hash_chain, trail
from shared.audit.hash_chain import Anchor, Broken
from shared.settings.settings import SERVICES
from shared.values import clock
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.test_routes import SCOPED, address

ROOT = Path(__file__).parents[3]

PLUMBING = {
    "alembic_version": "which migrations ran",
    "applied_event": "what was read of the others' logs",
    "audit_entry": "the trail itself",
    "cursor": "how far the others' logs were read",
    "event": "the log itself, append-only",
    "feed_epoch": "the log's name",
    "idempotent_answer": "answers kept for repeats",
    "parked_event": "what waits for its cheque",
    "token_failure": "counts of attempts, for minutes",
}
# Tables without a trigger, and why a change of theirs needs no entry of its own.
UNWATCHED = {
    "issuer": {
        "charge": "made with its grant, which is recorded",
        "digest_rotation": "how far a command came",
        "envelope_movement": "append-only, made with the envelope's change, which is recorded",
        "journal_entry": "append-only, made with what it books",
        "notice": "what was told, not what was done",
        "operator_contract": "mirror of the bridge's log",
        "redemption": "mirror of the redeemer's log",
        "structure_affiliation": "mirror of the redeemer's log",
        "suspended_cheque": "why cheques are blocked, whose blocking is recorded",
        "training_structure": "mirror of the redeemer's log",
    },
    "redeemer": {
        "expiry": "how far the daily expiry came",
        "cheque": "mirror of the issuer's log; spent by a redemption, which is recorded",
        "contract": "mirror of the bridge's log",
        "guessing": "counts of attempts; lock-outs are events",
        "programme": "mirror of the issuer's log",
        "presentation": "recorded by the statement that makes it, in the same round trip",
        "repeated_payment": "mirror of the bridge's log",
        "spending_rules": "mirror of the issuer's log",
        "statement_refusal": "frozen with its statement, which is recorded",
        "statement_line": "frozen with its statement, which is recorded",
    },
    "operator_bridge": {
        "affiliation": "mirror of the redeemer's log",
        "cheque": "mirror of the others' logs",
        "claim": "written once by a switch, which is recorded",
        "daily_balance": "figures of a day",
        "link": "mirror of the operators' words",
        "message": "an operator's word, kept as it came",
        "operator_order": "follows from the others' logs; what a person does to one is recorded as a request",
        "payment": "an operator's word",
        "redemption": "mirror of the redeemer's log",
        "report": "an operator's word",
        "switch_step": "figures of a switch, whose steps are recorded",
    },
}
# Changing routes whose transactions are not told, and where their trace is instead.
OWN_TRACE = {
    "POST /v1/redemptions": "its one statement records it",
    "POST /v1/checks": "no effect; guesses are counted",
    "POST /v1/operators/<operator>/webhooks": "the message is kept as it came",
    "POST /v1/oauth/token": "changes nothing; logins leave entries of their own (`shared.access.login`)",
}
# Who speaks to the database past the sessions that say who acts, and what for.
PAST_THE_SESSIONS = {
    "services/operator_bridge/workers/leases.py": "locks",
    "services/operator_bridge/reconciliation/comparing.py": "temporary tables of a comparison",
    "services/operator_bridge/reconciliation/runs.py": "a lock, and a comparison",
    "services/redeemer/redemptions/eligibility.py": "reads",
    "services/redeemer/cheques/expiring.py": "reads",
    "services/redeemer/redemptions/redeeming.py": "one round trip, which records itself",
}


@pytest.fixture(params=SERVICES)
def any_service(request: pytest.FixtureRequest, service: Callable[[str], ServiceUnderTest]) -> ServiceUnderTest:
    return service(request.param)


@pytest.fixture
def by_hand(owner: sa.Engine) -> Callable[[str, str], None]:
    """Runs SQL in a schema as the database's owner, who can make triggers look away."""

    def run(schema: str, sql: str) -> None:
        with sa.create_engine(owner.url, poolclass=sa.NullPool).begin() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            connection.exec_driver_sql(f"SET LOCAL search_path = {schema}")
            connection.exec_driver_sql(sql)

    return run


def changing(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Each method, rule and concrete address that is meant to change something."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}):
            yield method, rule.rule, address(rule)


def rows(of: ServiceUnderTest, query: str = "SELECT * FROM audit_entry ORDER BY sequence") -> list[sa.RowMapping]:
    with of.runtime.engine.connect() as connection:
        return list(connection.execute(sa.text(query)).mappings())


def add(of: ServiceUnderTest, number: int = 1) -> None:
    with of.runtime.transaction() as session, trail.acting(trail.system("test")):
        trail.record(session, "thing", range(number), after={"number": number})


def chained(of: ServiceUnderTest) -> Anchor:
    hash_chain.chain(of.runtime.engine, of.settings.service)
    return hash_chain.verify(of.runtime.engine, of.settings.service)


def test_every_table_leaves_entries_or_is_said_why_not(any_service: ServiceUnderTest) -> None:
    query = """
        SELECT relname, EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgfoid = to_regproc('record_change')
        ) AS watched
        FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    """
    found = {row["relname"]: row["watched"] for row in rows(any_service, query)}
    silent = {name for name, watched in found.items() if not watched}
    assert silent <= PLUMBING.keys() | UNWATCHED[any_service.settings.service].keys()


def test_whatever_a_changing_route_writes_leaves_an_entry(any_service: ServiceUnderTest) -> None:
    """Even where no watched table is touched: the route's own transaction, as it is told, writes to another one."""
    app, silent = any_service.app, []
    for method, rule, path in changing(app):
        view = next(app.view_functions[route.endpoint] for route in app.url_map.iter_rules() if route.rule == rule)
        role = min(reach_of(view) or {"admin"})
        headers = any_service.headers(role, new_id() if role in SCOPED else None, subject=f"{method} {rule}")
        with app.test_request_context(path, method=method, headers=headers):
            app.preprocess_request()
            if reach_of(view):
                roles(role)(lambda: None)()
            with any_service.runtime.transaction() as session:
                session.execute(
                    sa.text("INSERT INTO cursor VALUES (:name, gen_random_uuid(), 0)"), {"name": f"{method} {rule}"}
                )
        left = [row for row in rows(any_service) if row["subject"] == f"{method} {rule}"]
        if [row["action"] for row in left] != [f"{method} {rule}"]:
            silent.append(f"{method} {rule}")
    assert set(silent) == OWN_TRACE.keys() & {f"{method} {rule}" for method, rule, _ in changing(app)}


def test_a_request_that_wrote_nothing_leaves_nothing(any_service: ServiceUnderTest) -> None:
    method, _, path = next(changing(any_service.app))
    with any_service.app.test_request_context(path, method=method, headers=any_service.headers("admin")):
        any_service.app.preprocess_request()
        with any_service.runtime.transaction() as session:
            session.execute(sa.text("SELECT count(*) FROM cursor"))
    assert rows(any_service) == []


def _exports(call: ast.Call) -> bool:
    """Whether it is a list as CSV, which only reads (`shared.files.csv_export`, `shared.places.exporter`)."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in ("export", "export_in_parts") and bool(call.args)


def test_nobody_writes_past_the_sessions_that_say_who_acts() -> None:
    found = set()
    for path in (ROOT / "services").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        exported = {id(node.args[0]) for node in nodes if isinstance(node, ast.Call) and _exports(node)}
        for node in nodes:
            reached = isinstance(node, ast.Attribute) and node.attr == "engine" and id(node) not in exported
            if reached and path.name not in ("tasks.py",):
                found.add(str(path.relative_to(ROOT)))
    assert found <= set(PAST_THE_SESSIONS)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET subject = 'x'",
        "UPDATE audit_entry SET after = NULL",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        "DROP TRIGGER append_only ON audit_entry",
    ],
)
def test_a_service_cannot_rewrite_its_trail(any_service: ServiceUnderTest, statement: str) -> None:
    add(any_service)
    with (
        any_service.runtime.engine.connect() as connection,
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
    ):
        connection.exec_driver_sql(statement)


def test_a_service_cannot_give_an_entry_another_place(issuer: ServiceUnderTest) -> None:
    add(issuer)
    chained(issuer)
    with issuer.runtime.engine.connect() as connection, pytest.raises(DBAPIError, match="never rewritten"):
        connection.exec_driver_sql("UPDATE audit_entry SET hash = sha256('x')")


@pytest.mark.parametrize("statement", ["UPDATE audit_entry SET subject = 'x'", "DELETE FROM audit_entry"])
def test_not_even_the_owner_rewrites_it_by_mistake(issuer: ServiceUnderTest, owner: sa.Engine, statement: str) -> None:
    add(issuer)
    with owner.connect() as connection:
        connection.exec_driver_sql("SET search_path = issuer")
        with pytest.raises(DBAPIError, match="never rewritten"):
            connection.exec_driver_sql(statement)


def test_a_change_by_hand_is_recorded_as_such(issuer: ServiceUnderTest, owner: sa.Engine) -> None:
    with owner.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO issuer.convention (id, funder, reference, amount_cents, target_publics, territory,"
            " pays_at_most_bp, reserved_publics, reserved_bp)"
            " VALUES (gen_random_uuid(), 'CAF', 'C-1', 1000, '{}', '{}', 10000, '{}', 0)"
        )
        connection.exec_driver_sql("UPDATE issuer.convention SET amount_cents = 2000")
    added, raised = rows(issuer)
    assert (added["role"], added["subject"], added["action"]) == ("database", str(owner.url.username), "INSERT")
    assert (raised["action"], raised["before"], raised["after"]) == (
        "UPDATE",
        {"amount_cents": 1000},
        {"amount_cents": 2000},
    )


def test_what_is_rolled_back_leaves_nothing(issuer: ServiceUnderTest) -> None:
    with issuer.runtime.transaction() as session:
        trail.record(session, "thing", ["1"])
        session.rollback()
    assert rows(issuer) == []


PLANTED = {
    "code": "7F3A-19C2-4K8M-0XYZ-Q",
    "family_name": "Zéphyrine",
    "birth_date": "1961-03-09",
    "answers": {"computer": "no"},
    "access_token": "eyJ.secret",
    "note": "the cheque 7F3A19C24K8M0XYZQ was lost",
    "nested": {"given_name": "Aliénor", "cents": 1000, "list": [{"identity": "x"}]},
}


def test_no_secret_is_recorded_whoever_asks_for_it(issuer: ServiceUnderTest) -> None:
    with issuer.runtime.transaction() as session:
        trail.record(session, "thing", ["1"], before=PLANTED, after=PLANTED | {"amount_cents": 5000, "state": "live"})
    [row] = rows(issuer)
    written = str(row["before"]) + str(row["after"])
    for secret in ("7F3A", "Zéphyrine", "1961", "computer", "eyJ", "Aliénor", "'x'"):
        assert secret not in written
    assert row["after"]["amount_cents"] == 5000
    assert row["after"]["state"] == "live"
    assert row["after"]["nested"]["cents"] == 1000


def test_identifiers_and_days_are_no_codes() -> None:
    facts = {"cheque_ids": [str(new_id()) for _ in range(200)], "day": "2026-01-31T10:00:00+00:00"}
    assert trail.withheld(facts) == facts


def test_the_chain_of_many_writers_has_no_gaps_and_holds(issuer: ServiceUnderTest) -> None:
    def write() -> None:
        for _ in range(25):
            add(issuer, 2)

    def chain() -> None:
        for _ in range(20):
            hash_chain.chain(issuer.runtime.engine, "issuer")

    threads = [threading.Thread(target=work) for work in (write, write, write, write, chain, chain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chained(issuer).position == 200
    positions = [row["position"] for row in rows(issuer, "SELECT position FROM audit_entry ORDER BY position")]
    assert positions == list(range(1, 201))


def test_an_entry_that_commits_late_comes_later_in_the_chain(issuer: ServiceUnderTest) -> None:
    with issuer.runtime.transaction() as late:
        trail.record(late, "thing", ["late"])
        add(issuer)
        assert chained(issuer).position == 1
    assert chained(issuer).position == 2
    assert [row["object_id"] for row in rows(issuer, "SELECT object_id FROM audit_entry ORDER BY position")] == [
        "0",
        "late",
    ]


TAMPERED = {
    "a byte of its content": ("UPDATE audit_entry SET after = '{\"number\": 6}' WHERE position = 3", "entry 3 "),
    "who did it": ("UPDATE audit_entry SET subject = 'Test' WHERE position = 2", "entry 2 "),
    "when": ("UPDATE audit_entry SET occurred_at = occurred_at + interval '1us' WHERE position = 5", "entry 5 "),
    "its hash": ("UPDATE audit_entry SET hash = sha256('x') WHERE position = 4", "entry 4 "),
    "it is gone": ("DELETE FROM audit_entry WHERE position = 2", "entry 2 is missing"),
    "the first is gone": ("DELETE FROM audit_entry WHERE position = 1", "entry 1 is missing"),
    "gone, and those after it moved up": (
        "DELETE FROM audit_entry WHERE position = 2;"
        " UPDATE audit_entry SET position = -position WHERE position > 2;"
        " UPDATE audit_entry SET position = -position - 1 WHERE position < 0",
        "entry 2 ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_an_entry_that_was_tampered_with_is_named(
    how: str, any_service: ServiceUnderTest, by_hand: Callable[[str, str], None]
) -> None:
    add(any_service, 5)
    assert chained(any_service).position == 5
    sql, expected = TAMPERED[how]
    by_hand(any_service.settings.service, sql)
    with pytest.raises(Broken, match=re.escape(expected)):
        chained(any_service)


def test_an_end_that_was_cut_off_is_seen_against_an_anchor(
    issuer: ServiceUnderTest, by_hand: Callable[[str, str], None]
) -> None:
    add(issuer, 5)
    anchor = Anchor.read(str(chained(issuer)))
    by_hand("issuer", "DELETE FROM audit_entry WHERE position > 3")
    assert chained(issuer).position == 3
    with pytest.raises(Broken, match="ends at entry 3"):
        hash_chain.verify(issuer.runtime.engine, "issuer", [anchor])


def test_a_chain_that_was_written_anew_is_seen_against_an_anchor(
    issuer: ServiceUnderTest, by_hand: Callable[[str, str], None]
) -> None:
    add(issuer, 5)
    anchor = chained(issuer)
    by_hand("issuer", "UPDATE audit_entry SET position = NULL, hash = NULL, subject = 'somebody else'")
    assert chained(issuer).position == 5
    with pytest.raises(Broken, match="entry 5 is not the one that the anchor was taken from"):
        hash_chain.verify(issuer.runtime.engine, "issuer", [anchor])


def test_an_anchor_holds_while_the_chain_grows(issuer: ServiceUnderTest) -> None:
    anchors = [chained(issuer)]
    for _ in range(3):
        add(issuer)
        anchors.append(chained(issuer))
    assert [anchor.position for anchor in anchors] == [0, 1, 2, 3]
    assert hash_chain.verify(issuer.runtime.engine, "issuer", anchors) == anchors[-1]


def test_a_task_acts_under_its_name_and_only_while_it_runs(issuer: ServiceUnderTest) -> None:
    seen: list[trail.Act] = []

    @issuer.runtime.celery.task(name="issuer.act")
    def act() -> None:
        seen.append(trail.current())

    act.apply()
    assert [(found.role, found.subject, found.action) for found in seen] == [("system", "issuer.act", "issuer.act")]
    assert trail.current().subject == "process"


@pytest.mark.slow
def test_a_chain_ten_times_as_long_takes_no_more_memory_to_verify(issuer: ServiceUnderTest) -> None:
    peaks = []
    for number in (2_000, 18_000):
        add(issuer, number)
        hash_chain.chain(issuer.runtime.engine, "issuer")
        tracemalloc.start()
        hash_chain.verify(issuer.runtime.engine, "issuer")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_entries_are_listed_by_page_and_filtered(issuer: ServiceUnderTest) -> None:
    add(issuer, 5)
    headers = issuer.headers("admin")
    first = issuer.client.get("/v1/audit?limit=3", headers=headers).get_json()
    rest = issuer.client.get(f"/v1/audit?limit=3&after={first['next']}", headers=headers).get_json()
    assert [item["object_id"] for item in first["items"] + rest["items"]] == ["0", "1", "2", "3", "4"]
    assert rest["next"] is None
    [entry] = issuer.client.get("/v1/audit?object_kind=thing&object_id=3", headers=headers).get_json()["items"]
    assert (entry["role"], entry["subject"], entry["after"]) == ("system", "test", {"number": 5})
    today = clock.today()
    for everything in (f"from={today}&to={today}", "from=0001-01-01", "to=9999-12-31", f"to={today}"):
        assert len(issuer.client.get(f"/v1/audit?{everything}", headers=headers).get_json()["items"]) == 5
    for nothing in ("subject=x", "role=admin", "to=2020-01-01", "from=2100-01-01", "outcome=refused"):
        assert issuer.client.get(f"/v1/audit?{nothing}", headers=headers).get_json()["items"] == []


def test_entries_are_exported_with_what_their_hashes_are_made_of(issuer: ServiceUnderTest) -> None:
    add(issuer, 600)
    answer = issuer.client.get("/v1/audit/export?object_kind=thing", headers=issuer.headers("admin"))
    heads, *lines = answer.get_data(as_text=True).splitlines()
    assert heads.startswith("position,hash,occurred_at,role,")
    assert len(lines) == 600
    assert lines[-1].startswith(f"600,{chained(issuer).hash},")
