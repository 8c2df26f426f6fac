"""The log and its readers under the faults that lose or double events elsewhere."""

import json
import multiprocessing
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
import structlog
from msgspec import ValidationError
from sqlalchemy.orm import Session

from demo.stack.embedded import EmbeddedPostgres
from shared.eventlog import consumer, event_kinds, log
from shared.eventlog.event_kinds import ChequesBlocked
from shared.eventlog.log import Event
from shared.http.api_events import FeedPage
from shared.observability.logs import current_request_id
from shared.process.runtime import Runtime
from shared.settings import settings
from shared.values import clock
from shared.values.ids import new_id
from tests.shared.conftest import Logs

STEP = sa.text("""
    INSERT INTO cheque (cheque_id, steps) VALUES (:cheque_id, ARRAY[:step])
    ON CONFLICT (cheque_id) DO UPDATE SET steps = cheque.steps || excluded.steps
""")


def block(cheque_id: UUID, reason: str) -> dict[str, Any]:
    return {"cheque_ids": [cheque_id], "reason": reason}


def note(session: Session, run: Sequence[Event[ChequesBlocked]]) -> None:
    """Writes each event beside its cheque: what came, how often and in which order."""
    for event in run:
        session.execute(STEP, {"cheque_id": event.body.cheque_ids[0], "step": event.body.reason})


def die_halfway(session: Session, run: Sequence[Event[ChequesBlocked]]) -> None:
    """What a kill -9 leaves: everything applied, nothing committed."""
    note(session, run)
    session.flush()
    os._exit(9)


def pull(runtime: Runtime, handler: consumer.Handler = note) -> int:
    return runtime.pull("issuer", {"cheques.blocked": handler})


def pull_and_die(environ: dict[str, str]) -> None:
    pull(Runtime(settings.load("redeemer", environ)), die_halfway)


def tell(publisher: Runtime, cheque_id: UUID, *reasons: str) -> None:
    for reason in reasons:
        with publisher.transaction() as session:
            log.append(session, "cheques.blocked", cheque_id, block(cheque_id, reason))


def steps(reader: Runtime, cheque_id: UUID) -> list[str]:
    with reader.transaction() as session:
        found = session.execute(sa.text("SELECT steps FROM cheque WHERE cheque_id = :id"), {"id": cheque_id}).scalar()
    return list(found or [])


def test_an_event_that_commits_late_gets_a_late_position_and_is_not_skipped(logs: Logs) -> None:
    late, early = new_id(), new_id()
    reader = logs.runtime("redeemer")
    with logs.publisher() as publisher:
        with publisher.transaction() as session:
            log.append(session, "cheques.blocked", late, block(late, "began first"))
            session.flush()
            tell(publisher, early, "committed first")
            assert pull(reader) == 1
            assert steps(reader, early) == ["committed first"]
        assert pull(reader) == 1
    assert steps(reader, late) == ["began first"]


def test_a_transaction_that_stays_open_for_long_holds_nothing_back(logs: Logs) -> None:
    slow, quick = new_id(), new_id()
    reader = logs.runtime("redeemer")
    with logs.publisher() as publisher:
        with publisher.transaction() as session:
            log.append(session, "cheques.blocked", slow, block(slow, "slow"))
            session.flush()
            for turn in range(20):
                tell(publisher, quick, str(turn))
                assert pull(reader) == 1, "it waited for the open transaction"
        assert pull(reader) == 1
    assert steps(reader, quick) == [str(turn) for turn in range(20)]
    assert steps(reader, slow) == ["slow"]


def test_an_event_of_a_later_version_waits_for_the_release_that_reads_it(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheque, reader = new_id(), logs.runtime("redeemer")
    with logs.publisher() as publisher:
        tell(publisher, cheque, "a", "b", "c")
        with publisher.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE event SET version = 2 WHERE body::text LIKE '%%\"b\"%%'")
        for _ in range(2):
            with pytest.raises(consumer.NewerVersion, match=r"issuer: event 2 \(cheques.blocked\) is of version 2"):
                pull(reader)
            assert steps(reader, cheque) == ["a"]
        monkeypatch.setattr(event_kinds, "VERSION", 2)
        assert pull(reader) == 2
    assert steps(reader, cheque) == ["a", "b", "c"]


@pytest.mark.slow
def test_a_reader_that_dies_between_applying_and_committing_leaves_no_effect_and_loses_none(logs: Logs) -> None:
    cheque = new_id()
    reader = logs.runtime("redeemer")
    with logs.publisher() as publisher:
        tell(publisher, cheque, "a", "b", "c")
        dying = multiprocessing.get_context("spawn").Process(target=pull_and_die, args=(logs.environ,))
        dying.start()
        dying.join(30)
        assert dying.exitcode == 9
        assert steps(reader, cheque) == []
        assert pull(reader) == 3
        assert pull(reader) == 0
    assert steps(reader, cheque) == ["a", "b", "c"]


def test_what_a_reader_does_is_put_down_to_the_request_that_it_follows_from(logs: Logs) -> None:
    seen: list[str | None] = []
    with logs.publisher() as publisher:
        with structlog.contextvars.bound_contextvars(request_id="till-7"):
            tell(publisher, new_id(), "news")
        pull(logs.runtime("redeemer"), lambda _session, _run: seen.append(current_request_id()))
    assert seen == ["till-7"]


def test_a_page_of_the_feed_says_what_was_told_letter_for_letter(logs: Logs) -> None:
    told = {
        "structure_id": new_id(), "name": 'L’Atelier "Σ" 🖥 \\ <b>', "address": None, "postcode": "47000",
        "commune": "Agen", "insee_code": "47001", "latitude": 44.203142, "longitude": -1e-7, "services": ["é", ""],
        "phone": None,
    }  # fmt: skip
    with logs.publisher() as publisher:
        for request_id in ("till-7", None):
            bound = {"request_id": request_id} if request_id else {}
            with structlog.contextvars.bound_contextvars(**bound), publisher.transaction() as session:
                log.append(session, "structure.described", told["structure_id"], told)
        page = json.loads(log.page(publisher.engine, 0, 10).json())
    assert FeedPage().validate(page) == {}
    written = json.loads(event_kinds.encode(event_kinds.load("structure.described", told)))
    assert written == told | {"structure_id": str(told["structure_id"])}
    assert [entry["body"] for entry in page["events"]] == [written] * 2
    assert [entry["request_id"] for entry in page["events"]] == ["till-7", None]
    assert [entry["position"] for entry in page["events"]] == [1, 2] == [1, page["head"]]


def test_two_readers_at_once_apply_every_event_once(logs: Logs) -> None:
    cheques = [new_id() for _ in range(5)]
    readers = [logs.runtime("redeemer") for _ in range(4)]
    with logs.publisher() as publisher:
        for turn in range(40):
            tell(publisher, cheques[turn % 5], str(turn))
        threads = [threading.Thread(target=pull, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pull(readers[0])
    for index, cheque in enumerate(cheques):
        assert steps(readers[0], cheque) == [str(turn) for turn in range(index, 40, 5)]


CHANGE = sa.text("UPDATE issuer.account SET turn = turn + 1 WHERE cheque_id = :id RETURNING turn")


def test_events_of_one_cheque_keep_their_order_while_many_writers_and_numberers_compete(logs: Logs) -> None:
    publisher, cheques = logs.runtime("issuer"), [new_id() for _ in range(3)]
    with publisher.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE account (cheque_id uuid PRIMARY KEY, turn int NOT NULL DEFAULT 0)")
        connection.execute(sa.text("INSERT INTO account SELECT unnest(CAST(:ids AS uuid[]))"), {"ids": cheques})
    writing = threading.Event()

    def write() -> None:
        for turn in range(45):
            cheque = cheques[turn % 3]
            with publisher.transaction() as session:
                reached = session.execute(CHANGE, {"id": cheque}).scalar_one()
                log.append(session, "cheques.blocked", cheque, block(cheque, str(reached)))

    def number() -> None:
        while not writing.is_set():
            log.page(publisher.engine, 0, 1)

    writers = [threading.Thread(target=write) for _ in range(4)]
    numberers = [threading.Thread(target=number) for _ in range(2)]
    for thread in writers + numberers:
        thread.start()
    for thread in writers:
        thread.join()
    writing.set()
    for thread in numberers:
        thread.join()
    entries = [json.loads(entry) for entry in log.page(publisher.engine, 0, 1000).events]
    assert [entry["position"] for entry in entries] == list(range(1, 181))
    for cheque in cheques:
        told = [int(entry["body"]["reason"]) for entry in entries if entry["key"] == str(cheque)]
        assert told == list(range(1, 61))


@pytest.mark.slow
def test_a_log_restored_from_a_dump_into_another_cluster_is_read_again_without_losing_or_doubling(
    logs: Logs,
    make_logs: Callable[[EmbeddedPostgres], Logs],
    server_directory: Path,
) -> None:
    before, lost, after = new_id(), new_id(), new_id()
    reader = logs.runtime("redeemer")
    with logs.publisher() as publisher:
        tell(publisher, before, "before the dump", "still before")
        pull(reader)
        dump = dump_of(logs)
        tell(publisher, lost, "after the dump: the restored publisher will not know it")
        pull(reader)
    with EmbeddedPostgres.start(server_directory / f"other-{logs.database}", durable=False) as other:
        restored = restore(dump, other, make_logs(other), logs)
        with restored.publisher() as publisher:
            tell(publisher, after, "at a position that another event once had", "and one more")
            assert pull(reader) == 2
            assert pull(reader) == 0
    assert steps(reader, before) == ["before the dump", "still before"]
    assert steps(reader, after) == ["at a position that another event once had", "and one more"]
    assert steps(reader, lost) == ["after the dump: the restored publisher will not know it"]


def dump_of(logs: Logs) -> bytes:
    address = ["-h", str(logs.postgres.directory), "-U", "souche"]
    command = [str(logs.postgres.bin / "pg_dump"), *address, "-n", "issuer", logs.database]
    return subprocess.run(command, check=True, capture_output=True).stdout


def restore(dump: bytes, other: EmbeddedPostgres, restored: Logs, original: Logs) -> Logs:
    with sa.create_engine(other.url(), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {restored.database}")
    address = ["-h", str(other.directory), "-U", "souche"]
    command = [str(other.bin / "psql"), "-q", "-v", "ON_ERROR_STOP=1", *address, restored.database]
    subprocess.run(command, check=True, input=dump, capture_output=True)
    restored.environ["ISSUER_URL"] = original.environ["ISSUER_URL"]
    return restored


def test_an_event_for_a_cheque_not_known_yet_is_parked_and_given_back_once(logs: Logs) -> None:
    reader, cheque = logs.runtime("redeemer"), new_id()
    body = event_kinds.load("cheques.registered", {"contract_id": new_id(), "cheque_ids": [cheque]})
    second, first = (Event(new_id(), "cheques.registered", "k", clock.now(), body, place) for place in (2, 1))
    with reader.transaction() as session:
        for waiting in (second, first, second):
            consumer.park(session, cheque, waiting)
    with reader.transaction() as session:
        assert consumer.unpark(session, [cheque, new_id()]) == [first, second]
    with reader.transaction() as session:
        assert consumer.unpark(session, [cheque]) == []


def test_an_event_that_was_parked_is_applied_under_the_request_that_it_came_of(logs: Logs) -> None:
    reader, cheque, seen = logs.runtime("redeemer"), new_id(), list[str | None]()
    body = event_kinds.load("cheques.registered", {"contract_id": new_id(), "cheque_ids": [cheque]})
    with reader.transaction() as session:
        consumer.park(session, cheque, Event(new_id(), "cheques.registered", "k", clock.now(), body, 1, "till-7"))
    with reader.transaction() as session:
        waiting = consumer.unpark(session, [cheque])
        note = {"cheques.registered": lambda *_: seen.append(current_request_id())}
        consumer.run_handlers(session, waiting, note)
    assert ([event.request_id for event in waiting], seen) == (["till-7"], ["till-7"])


def test_an_event_that_lacks_a_member_is_refused_before_it_is_written(logs: Logs) -> None:
    programme = {"code": "aidants", "spendable": "on_issue", "services": [], "territory": []}
    dates = {"granted_on": date(2026, 1, 5), "valid_until": date(2027, 1, 5)}
    body = {"grant_id": new_id(), "programme": programme, "cheques": [], **dates}
    with logs.runtime("issuer").transaction() as session, pytest.raises(ValidationError, match="presentable_until"):
        log.append(session, "cheques.issued", "grant", body)
