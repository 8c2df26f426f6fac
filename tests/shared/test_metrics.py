"""What Prometheus is told: every gauge can be read, refusals count by reason, and nobody reads it without a token."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from shared import metrics
from shared.config import SERVICES
from shared.ids import new_id
from tests.harness import ServiceUnderTest

ROOT = Path(__file__).resolve().parents[2]


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
    assert {labels["queue"] for labels, _ in samples["souche_queue_tasks"]} == set(SERVICES)
    assert any(labels["service"] == name for labels, _ in samples["souche_log_events"])


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
    gauges = metrics.Gauges(runtime, ())
    first = {family.name: family for family in gauges.collect()}
    assert [(sample.labels, sample.value) for sample in first["souche_log_read"].samples] == [
        ({"service": name, "publisher": "issuer"}, 41.0)
    ]
    with runtime.transaction() as session:
        session.execute(sa.text("UPDATE cursor SET position = 42"))
    assert {family.name: family for family in gauges.collect()}["souche_log_read"] is first["souche_log_read"]


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


@pytest.mark.parametrize("file", ["deploy/prometheus/alerts.yml", "deploy/grafana/souche.json"])
def test_alerts_and_dashboard_ask_for_metrics_that_there_are(file: str) -> None:
    defined = set()
    for path in [ROOT / "shared" / "metrics.py", *sorted(ROOT.glob("services/*/metrics.py"))]:
        defined |= set(re.findall(r'"(souche_[a-z_]+)"', path.read_text(encoding="utf-8")))
    asked = set(re.findall(r"souche_[a-z_]+", (ROOT / file).read_text(encoding="utf-8")))
    derived = {f"{name}{end}" for name in defined for end in ("_bucket", "_count", "_sum", "_total")}
    assert asked - defined - derived == set()
    assert asked


def test_the_page_says_what_to_do_for_every_alert() -> None:
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    assert [alert for alert in alerts if f"**{alert}**" not in page] == []
