"""What is locked, what is known against it, and how containers run."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.supply import audit, sbom
from deploy.supply.locks import LOCKS, ROOT, Pin, every, read

TODAY = date(2026, 11, 23)
PINS = [Pin("flask", "3.1.3", ("0" * 64,)), Pin("ruamel-yaml", "1.0", ("1" * 64,))]


def found(*dependencies: dict[str, Any]) -> dict[str, Any]:
    """What pip-audit prints."""
    return {"dependencies": [{"vulns": []} | one for one in dependencies], "fixes": []}


FLASK, YAML = {"name": "Flask", "version": "3.1.3"}, {"name": "ruamel.yaml", "version": "1.0"}
FAULT = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["3.1.4"], "description": "Long."}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_has_hashes_and_comes_from_no_named_address(lock: Path) -> None:
    pins = read(lock)
    assert len(pins) > 50
    assert [pin.name for pin in pins if not pin.hashes] == []
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


def test_both_locks_name_the_same_versions() -> None:
    names = [pin.name for pin in every()]
    assert len(names) == len(set(names))


def test_what_is_installed_is_held_to_the_hashes() -> None:
    assert "--require-hashes -r requirements.lock" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert (ROOT / "Makefile").read_text(encoding="utf-8").count("install --require-hashes -r") == 2


def test_a_report_without_faults_that_covers_everything_passes() -> None:
    verdict = audit.compare(PINS, audit.stored(found(FLASK, YAML), TODAY), TODAY)
    assert verdict.passes
    assert verdict.lines() == [
        "The report of known vulnerabilities is 0 days old.",
        "2 packages are locked: 0 faults, 0 packages not looked up.",
    ]


def test_a_version_that_is_known_to_be_vulnerable_fails() -> None:
    report = audit.stored(found(FLASK | {"vulns": [FAULT]}, YAML), TODAY)
    verdict = audit.compare(PINS, report, TODAY)
    assert not verdict.passes
    assert verdict.vulnerable == ("flask 3.1.3: PYSEC-2026-1 (CVE-2026-1), mended in 3.1.4",)
    assert "description" not in json.dumps(report)


@pytest.mark.parametrize(
    "other", [FLASK | {"version": "3.1.2"}, {"name": "flask", "skip_reason": "Dependency not found on PyPI"}]
)
def test_a_version_that_was_not_looked_up_fails(other: dict[str, Any]) -> None:
    verdict = audit.compare(PINS, audit.stored(found(other, YAML), TODAY), TODAY)
    assert (verdict.passes, verdict.absent) == (False, ("flask 3.1.3",))


def test_a_report_says_how_old_it_is() -> None:
    report = audit.stored(found(FLASK, YAML), date(2026, 8, 1))
    assert "114 days old. Older than 30: make audit-report." in audit.compare(PINS, report, TODAY).lines()[0]


def test_the_bill_of_materials_names_all_that_runs_in_production() -> None:
    components = sbom.document()["components"]
    assert {(one["name"], one["version"]) for one in components} == {(pin.name, pin.version) for pin in read(LOCKS[0])}
    assert all(one["externalReferences"][0]["hashes"] for one in components)


def containers() -> dict[str, Any]:
    """Our own services in docker-compose.yml; the merges of YAML are followed."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return {name: one for name, one in document["services"].items() if "build" in one}


def test_our_containers_cannot_write_nor_gain_rights() -> None:
    assert len(containers()) == 8
    for name, one in containers().items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in one, name
        assert "user" not in one, name
        assert one.get("volumes", []) == [], name
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name


def test_the_image_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER souche"]
    assert any("useradd" in line and "--uid 10001" in line and "nologin" in line for line in lines)
    assert lines.index("USER souche") > max(
        index for index, line in enumerate(lines) if line.startswith(("RUN", "COPY"))
    )


def test_the_databases_network_and_the_queues_are_closed_to_the_outside() -> None:
    networks = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["networks"]
    assert networks["database"] == networks["queue"] == {"internal": True}
