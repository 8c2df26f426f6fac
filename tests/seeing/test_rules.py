"""Alerts, dashboard and runbook fit together, and speak of what the services really tell."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from shared.settings.settings import SERVICES
from tests.harness import ServiceUnderTest

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "souche.json"
PAGE = ROOT / "docs" / "alerts.md"

_METRIC = re.compile(r"souche_[a-z_]+")
_needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def alerts() -> list[dict[str, str]]:
    read = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule | {"severity": rule["labels"]["severity"]} for group in read["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, object]]:
    return list(json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"])


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]  # type: ignore[attr-defined]


@pytest.fixture
def told(service: Callable[[str], ServiceUnderTest]) -> set[str]:
    """The names of all that the three services tell; what has no value yet is named too."""
    names: set[str] = set()
    for name in SERVICES:
        under_test = service(name)
        answer = under_test.client.get("/metrics", headers=under_test.headers("operations")).get_data(as_text=True)
        for family in text_string_to_metric_families(answer):
            ends = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}.get(family.type, ("",))
            names |= {f"{family.name}{end}" for end in ends}
    return names


def test_alerts_and_dashboard_ask_for_what_the_services_tell(told: set[str]) -> None:
    asked = {name for text in [*queries(), *(alert["expr"] for alert in alerts())] for name in _METRIC.findall(text)}
    assert len(asked) > 20
    assert asked - told == set()


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_the_page_says_what_to_do_for_each_alert_and_when(alert: dict[str, str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    [(severity, advice)] = re.findall(rf"^\*\*{alert['alert']}\*\* \((page|ticket)\)\. (\S[^\n]+)", page, re.MULTILINE)
    assert severity == alert["severity"]
    assert len(advice) > 40


def test_the_page_knows_no_alert_that_there_is_not() -> None:
    named = re.findall(r"^\*\*(\w+)\*\* \(", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(alert["alert"] for alert in alerts())


def test_panels_have_their_own_place_and_number() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels())
        for x in range(at["x"], at["x"] + at["w"])  # type: ignore[index]
        for y in range(at["y"], at["y"] + at["h"])  # type: ignore[index]
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


@_needs_promtool
def test_the_rules_are_rules(tmp_path: Path) -> None:
    _promtool("check", "rules", str(RULES))


@_needs_promtool
def test_the_queries_of_the_dashboard_are_queries(tmp_path: Path) -> None:
    rules = [{"record": f"panel_{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    _promtool("check", "rules", str(file))


@_needs_promtool
@pytest.mark.slow
def test_each_situation_raises_its_alerts_and_no_others(tmp_path: Path) -> None:
    for file in (RULES, Path(__file__).with_name("rules.yml")):
        shutil.copy(file, tmp_path)
    _promtool("test", "rules", str(tmp_path / "rules.yml"))


def _promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
