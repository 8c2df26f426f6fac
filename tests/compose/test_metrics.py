"""Prometheus finds every replica, by the files that are given with it."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.compose.deployment import Deployment, eventually, has_image

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]
IMAGE = "prom/prometheus:v3.5.0"


@pytest.fixture
def prometheus(deployment: Deployment) -> Iterator[str]:
    if not has_image(IMAGE):
        pytest.skip(f"the image {IMAGE} cannot be had")
    profiles = deployment.environ["COMPOSE_PROFILES"]
    deployment.environ["COMPOSE_PROFILES"] += ",metrics"
    deployment.compose("up", "--detach", "--no-deps", "prometheus")
    address = f"http://{deployment.compose('port', 'prometheus', '9090').strip()}"
    eventually(lambda: is_ready(address))
    yield address
    deployment.compose("stop", "prometheus")
    deployment.environ["COMPOSE_PROFILES"] = profiles


def test_prometheus_scrapes_all_replicas_and_knows_the_alerts(deployment: Deployment, prometheus: str) -> None:
    eventually(lambda: bool(ask(prometheus, "targets")["activeTargets"]), 90)
    eventually(lambda: healths(prometheus) == {"up"}, 90)
    found = ask(prometheus, "targets")["activeTargets"]
    replicas = {name: deployment.count(name) for name in ("issuer", "redeemer", "operator-bridge")}
    assert len(found) == sum(replicas.values()), replicas
    rules = [rule for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 5
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    gauges = ask(prometheus, "query", query="souche_gauges_up")["result"]
    assert {gauge["metric"]["service"] for gauge in gauges} == {"issuer", "redeemer", "operator_bridge"}


def healths(prometheus: str) -> set[str]:
    return {target["health"] for target in ask(prometheus, "targets")["activeTargets"]}


def is_ready(prometheus: str) -> bool:
    try:
        return requests.get(f"{prometheus}/-/ready", timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


def ask(prometheus: str, what: str, **query: str) -> Any:
    return requests.get(f"{prometheus}/api/v1/{what}", params=query, timeout=10).json()["data"]
