"""Events carried from one service to another and applied, against INSERT of the same rows from one client.

A real web server publishes; the reader is what a worker of the other service runs. The rows are those of the tables
that grew at the reader, in transactions of as many events.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from time import perf_counter

import sqlalchemy as sa

from benchmarks import rows
from benchmarks.machine import Machine, machine
from benchmarks.rows import Copies
from benchmarks.table import Line, by_turns
from services.operator_bridge.inbound import consuming as bridge
from services.redeemer import inbox as redeemer
from shared.eventlog import consumer
from shared.eventlog.consumer import Handler
from shared.observability import logs
from shared.process.runtime import Runtime
from shared.settings import settings

_GRANTS = """
    INSERT INTO event (event_id, kind, version, key, occurred_at, request_id, body)
    SELECT uuidv7(), 'cheques.issued', 1, grant_id::text, now(), uuidv7()::text, jsonb_build_object(
        'grant_id', grant_id, 'granted_on', current_date, 'valid_until', current_date + 300,
        'presentable_until', current_date + 330,
        'programme', '{"code": "pass", "spendable": "on_issue", "services": [], "territory": []}'::jsonb,
        'cheques', (SELECT jsonb_agg(jsonb_build_object(
            'cheque_id', uuidv7(), 'digest', encode(sha256(uuid_send(grant_id) || int8send(number)), 'hex'),
            'value_cents', 1000)) FROM generate_series(1, 5) number))
    FROM (SELECT uuidv7() AS grant_id FROM generate_series(1, :events)) given
"""
_REDEMPTIONS = """
    INSERT INTO event (event_id, kind, version, key, occurred_at, request_id, body)
    SELECT uuidv7(), 'cheques.redeemed', 1, cheque ->> 'cheque_id', now(), uuidv7()::text, jsonb_build_object(
        'presentation_id', uuidv7(), 'structure_id', uuidv7(), 'programme', 'pass', 'via', 'till',
        'contract_id', NULL, 'redeemed_at', now(), 'given_on', current_date, 'redemptions', jsonb_build_array(
            jsonb_build_object('redemption_id', uuidv7(), 'cheque_id', cheque -> 'cheque_id', 'amount_cents', 1000)))
    FROM (SELECT jsonb_array_elements(body -> 'cheques') AS cheque FROM issuer.event ORDER BY sequence DESC
          LIMIT :events) given
"""


@dataclass(frozen=True)
class _Way:
    """News of one kind on their way from a publisher to a reader, and the table with a row for each event."""

    publisher: str
    reader: str
    kind: str
    make: str
    handlers: Mapping[str, Handler]


_ISSUED = _Way("issuer", "redeemer", "cheques.issued (5 cheques)", _GRANTS, redeemer.HANDLERS)
_REDEEMED = _Way("redeemer", "operator_bridge", "cheques.redeemed (1 cheque)", _REDEMPTIONS, bridge.HANDLERS)
_KNOWN = _Way("issuer", "operator_bridge", "", _GRANTS, bridge.HANDLERS)


def throughput(quick: bool) -> Iterator[Line]:
    """Events a second on the two busiest ways, by turns; the numbering of the log is part of it."""
    events, turns = (5_000, 3) if quick else (20_000, 5)
    with machine(*settings.SERVICES) as stage:
        for publisher in ("issuer", "redeemer"):
            stage.environ[f"{publisher.upper()}_URL"] = f"http://127.0.0.1:{stage.serve(publisher)}"
        yield _measure(stage, _ISSUED, events, turns, lambda: None)
        pull_known = _carry(stage, _KNOWN)

        def know() -> None:
            """The bridge learns of cheques first, which are then redeemed."""
            _make(stage, _KNOWN, -(-events // 5))
            pull_known()

        yield _measure(stage, _REDEEMED, events, turns, know)


def _measure(stage: Machine, way: _Way, events: int, turns: int, prepare: Callable[[], None]) -> Line:
    owner, pull = stage.owner(way.reader), _carry(stage, way)
    prepare()
    before = rows.sizes(owner)
    _make(stage, way, events)
    pull()
    copies = Copies(stage, way.reader, rows.grown(owner, before))

    def ours() -> float:
        prepare()
        _make(stage, way, events)
        began = perf_counter()
        carried = pull()
        if carried != events:
            raise AssertionError(f"{carried} of {events} events took effect")
        return events / (perf_counter() - began)

    def theirs() -> float:
        with owner.connect() as connection:
            applied: int = connection.exec_driver_sql("SELECT count(*) FROM applied_event").scalar_one()
        return applied / rows.insert_all(copies, consumer.PAGE_SIZE, "applied_event")

    ratio = by_turns(ours, theirs, turns)
    owner.dispose()
    what = f"events from {way.publisher} to {way.reader}: {way.kind}"
    note = f"{consumer.PAGE_SIZE} events a page and a transaction; rows of {', '.join(copies.tables)}"
    return ratio.line(what, "INSERT of the same rows, one client, same batches", 0.5, "events", note)


def _make(stage: Machine, way: _Way, events: int) -> None:
    publisher = stage.owner(way.publisher)
    with publisher.connect() as connection:
        connection.execute(sa.text(way.make), {"events": events})
    publisher.dispose()


def _carry(stage: Machine, way: _Way) -> Callable[[], int]:
    """Pulls as a worker of the reader does, its log lines included, and with what is loaded out of the collector."""
    log = stage.life.enter_context((stage.folder / f"{way.reader}.log").open("w", encoding="utf-8"))
    with redirect_stderr(log):
        logs.configure(way.reader, "INFO")
    stage.life.callback(logging.getLogger().handlers.clear)
    gc.freeze()
    runtime = Runtime(settings.load(way.reader, stage.environ))
    return lambda: runtime.pull(way.publisher, way.handlers)
