"""What Prometheus is told: every gauge can be read, refusals count by reason, and nobody reads it without a token."""

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from demo.stack.embedded import free_port
from shared.database import engine as db
from shared.http import metrics
from shared.http.metrics import Gauge, Tables
from shared.process.celery import QUEUES
from shared.settings.settings import SERVICES
from shared.values.ids import new_id
from tests.faults.town import eventually, is_ready
from tests.harness import ServiceUnderTest


def told(service: ServiceUnderTest) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The samples by name."""
    answer = service.client.get("/metrics", headers=service.headers("operations"))
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_tells_its_gauges(service: Callable[[str], ServiceUnderTest], name: str) -> None:
    samples = told(service(name))
    assert ({"service": name}, 1.0) in samples["souche_gauges_up"]
    assert {labels["queue"] for labels, _ in samples["souche_queue_tasks"]} == set(QUEUES)
    assert any(labels["service"] == name for labels, _ in samples["souche_log_events"])


def test_methods_that_somebody_made_up_are_counted_as_one_and_not_logged(
    issuer: ServiceUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """Else whoever can send a request could fill the memory, and what he likes would stand in metrics and logs."""
    made_up = [f"MADEUP{number}" for number in range(20)]
    with caplog.at_level(logging.INFO):
        answers = [issuer.app.test_client().open("/healthz", method=method) for method in made_up]
    assert {answer.status_code for answer in answers} == {405}
    methods = {labels["method"] for labels, _ in told(issuer)["souche_request_seconds_count"]}
    assert methods <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"}
    assert "OTHER" in methods
    assert "MADEUP" not in caplog.text


@pytest.mark.parametrize("name", SERVICES)
def test_the_gauges_are_read_from_the_tables_and_kept_for_a_while(
    service: Callable[[str], ServiceUnderTest], name: str
) -> None:
    under_test = service(name)
    runtime = under_test.runtime
    with runtime.transaction() as session:
        session.execute(
            sa.text("INSERT INTO cursor VALUES (:publisher, :epoch, 41)"), {"publisher": "issuer", "epoch": new_id()}
        )
    gauges = metrics.Metrics(runtime, ())
    first = {family.name: family for family in gauges.collect()}
    assert [(sample.labels, sample.value) for sample in first["souche_log_read"].samples] == [
        ({"service": name, "publisher": "issuer"}, 41.0)
    ]
    with runtime.transaction() as session:
        session.execute(sa.text("UPDATE cursor SET position = 42"))
    assert {family.name: family for family in gauges.collect()}["souche_log_read"] is first["souche_log_read"]


@pytest.mark.slow
def test_who_asks_is_not_kept_waiting_by_what_takes_long(
    service: Callable[[str], ServiceUnderTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_PATIENCE_SECONDS", 0.05)
    slow = Gauge("souche_slow", "Takes its time.", (), "SELECT 7 FROM pg_sleep(5)")
    gauges = metrics.Metrics(service("redeemer").runtime, (slow,))
    assert "souche_slow" not in {family.name for family in gauges.collect()}
    assert eventually(lambda: "souche_log_events" in {family.name for family in gauges.collect()})
    assert eventually(lambda: "souche_slow" in {family.name for family in gauges.collect()})


def test_what_took_long_to_read_is_kept_for_long(
    service: Callable[[str], ServiceUnderTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as it is worth: what takes a second, every hundred; what takes none, every half minute."""
    settings = service("redeemer").settings
    read = [
        Gauge("souche_quick", "At once.", (), "SELECT extract(epoch FROM clock_timestamp())"),
        Gauge("souche_slow", "Not.", (), "SELECT extract(epoch FROM clock_timestamp()) FROM pg_sleep(0.5)"),
    ]
    tables = Tables(partial(db.connect, settings.database_url, "redeemer", 1), "redeemer", read)

    def values() -> dict[str, float]:
        tables.read_due()
        found = {family.name: family.samples for family in tables.families()}
        return {gauge.name: found[gauge.name][0].value for gauge in read}

    first, began = values(), time.monotonic()
    for later, changed in (
        (29, set()),
        (31, {"souche_quick"}),
        (48, {"souche_quick"}),
        (90, {"souche_quick", "souche_slow"}),
    ):
        monkeypatch.setattr(time, "monotonic", lambda later=later: began + later)
        now = values()
        assert {name for name in now if now[name] != first[name]} == changed


def test_a_table_that_cannot_be_read_is_told_and_hides_no_other(service: Callable[[str], ServiceUnderTest]) -> None:
    settings = service("redeemer").settings
    missing = Gauge("souche_missing", "Of a table that there is not.", (), "SELECT count(*) FROM no_such_table")
    there = Gauge("souche_there", "One.", (), "SELECT 1")
    tables = Tables(partial(db.connect, settings.database_url, "redeemer", 1), "redeemer", [missing, there])
    assert next(iter(tables.families())).samples == []  # nothing is known yet: that is no alarm
    tables.read_due()
    found = {family.name: family.samples for family in tables.families()}
    assert [sample.value for sample in found["souche_gauges_up"]] == [0.0]
    assert [sample.value for sample in found["souche_there"]] == [1.0]
    assert "souche_missing" not in found


@pytest.mark.slow
def test_several_processes_of_one_server_tell_the_counts_of_all(
    service: Callable[[str], ServiceUnderTest], tmp_path: Path
) -> None:
    redeemer, port = service("redeemer"), free_port()
    command = [sys.executable, "-m", "souche", "serve", "redeemer", "--port", str(port), "--workers", "2"]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(command, env={**os.environ, **redeemer.environ, "TMPDIR": str(tmp_path)})
    try:
        assert eventually(lambda: is_ready(address))
        refused = 0
        while len(list(tmp_path.glob("souche-metrics-*/counter_*.db"))) < 2:  # until both processes have had some
            assert requests.get(f"{address}/v1/structures", timeout=30).status_code == 401
            refused += 1
        for _ in range(6):
            answer = requests.get(f"{address}/metrics", headers=redeemer.headers("operations"), timeout=30)
            counted = re.findall(
                r'souche_refusals_total\{reason="unauthenticated",service="redeemer"\} (\S+)', answer.text
            )
            assert counted == [str(float(refused))]
    finally:
        process.terminate()
        process.wait(30)


def test_a_cheque_refused_at_a_till_counts_by_its_reason(service: Callable[[str], ServiceUnderTest]) -> None:
    redeemer = service("redeemer")

    def refusals() -> float:
        reasons = ("structure-not-affiliated", "unknown-code")  # nothing is known of the structure, and a typing error
        counted = told(redeemer).get("souche_refusals_total", [])
        return sum(value for labels, value in counted if labels["reason"] in reasons)

    before = refusals()
    headers = redeemer.headers("structure", new_id(), key="k")
    body = {"codes": ["0000-0000-0000-0000-A", "1111"]}
    answer = redeemer.client.post("/v1/redemptions", json=body, headers=headers)
    assert answer.status_code == 409
    assert refusals() == before + len(answer.get_json()["refusals"])


def test_metrics_are_told_to_nobody_without_a_token(service: Callable[[str], ServiceUnderTest]) -> None:
    redeemer = service("redeemer")
    assert redeemer.client.get("/metrics").status_code == 401
    assert redeemer.client.get("/metrics", headers=redeemer.headers("structure", new_id())).status_code == 403
