"""Compares the lock files with a stored report of known vulnerabilities: needs no network, and says how old it is.

`python -m deploy.supply.audit` checks, and ends with

* 0: everything that is locked was looked up not long ago, and nothing is known against it;
* 1: something is known against a version that is locked;
* 2: there is no report, or something that is locked was not looked up;
* 3: nothing is known, but to a source that is older than a month, which says little.

`python -m deploy.supply.audit store <file>` takes the JSON of pip-audit, which needs the network, as the report;
`python -m deploy.supply.audit look-up <file> <what it is>` makes it of a database of advisories (`advisories`), which
somebody with a network has fetched.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from deploy.supply import advisories
from deploy.supply.locks import Pin, every, normalised

REPORT = Path(__file__).with_name("report.json")
OLD_AFTER_DAYS = 30
CLEAN, VULNERABLE, NOT_LOOKED_UP, OLD = range(4)


@dataclass(frozen=True)
class Verdict:
    """What the report says of the locks."""

    source: str
    known_until: date
    age_days: int
    """Of what the source knows, not of the report."""
    checked: int
    vulnerable: tuple[str, ...]
    """As `name version: id (mended in …)`."""
    absent: tuple[str, ...]
    """As `name version`."""

    @property
    def status(self) -> int:
        """The exit status: the worst that is true."""
        if self.vulnerable:
            return VULNERABLE
        if self.absent:
            return NOT_LOOKED_UP
        return OLD if self.age_days > OLD_AFTER_DAYS else CLEAN

    def lines(self) -> list[str]:
        """The verdict, to read."""
        verdict = [f"Known vulnerabilities by {self.source}, which knows them until {self.known_until}: {self._age()}"]
        verdict += [f"VULNERABLE {each}" for each in self.vulnerable]
        verdict += [f"NOT LOOKED UP {each}" for each in self.absent]
        found = f"{len(self.vulnerable)} faults, {len(self.absent)} packages not looked up"
        return [*verdict, f"{self.checked} packages are locked: {found}."]

    def _age(self) -> str:
        old = f"{self.age_days} days ago."
        if self.age_days <= OLD_AFTER_DAYS:
            return old
        return f"{old} TOO OLD: what became known since is not in it. Where there is a network: make audit-report."


def compare(pins: Iterable[Pin], report: dict[str, Any], today: date) -> Verdict:
    """What a report says of what is locked."""
    known = {(normalised(one["name"]), one["version"]): one["vulns"] for one in report["dependencies"]}
    wanted = sorted({(pin.name, pin.version) for pin in pins})
    found = [(name, version, each) for name, version in wanted for each in known.get((name, version), ())]
    until = date.fromisoformat(report["known_until"])
    return Verdict(
        source=report["source"],
        known_until=until,
        age_days=(today - until).days,
        checked=len(wanted),
        vulnerable=tuple(f"{name} {version}: {_told(each)}" for name, version, each in found),
        absent=tuple(f"{name} {version}" for name, version in wanted if (name, version) not in known),
    )


def _told(vulnerability: dict[str, Any]) -> str:
    also = f" ({', '.join(vulnerability['aliases'])})" if vulnerability["aliases"] else ""
    mended = ", ".join(vulnerability["fix_versions"])
    return f"{vulnerability['id']}{also}, {f'mended in {mended}' if mended else 'not mended yet'}"


def stored(found: dict[str, Any], source: str, known_until: date, today: date) -> dict[str, Any]:
    """The report of a day, of what pip-audit printed; descriptions are left to the databases.

    What pip-audit could not look up is left out, so that it is told as such.
    """
    looked_up = [one for one in found["dependencies"] if "skip_reason" not in one]
    kept = {(normalised(one["name"]), one["version"]): [_kept(each) for each in one["vulns"]] for one in looked_up}
    lines = [{"name": name, "version": version, "vulns": kept[name, version]} for name, version in sorted(kept)]
    head = {"made_on": today.isoformat(), "source": source, "known_until": known_until.isoformat()}
    return {**head, "dependencies": lines}


def _kept(vulnerability: dict[str, Any]) -> dict[str, Any]:
    return {name: vulnerability.get(name, []) for name in ("id", "aliases", "fix_versions")}


def _made(arguments: Sequence[str], today: date) -> dict[str, Any] | None:
    """The new report that is asked for, if one is."""
    match arguments:
        case ["store", path]:
            return stored(json.loads(Path(path).read_text(encoding="utf-8")), "pip-audit", today, today)
        case ["look-up", path, source]:
            database = advisories.read(Path(path))
            return stored({"dependencies": advisories.against(database, every())}, source, database.known_until, today)
    return None


def main(arguments: Sequence[str]) -> int:
    """Checks, or stores a report first; returns the exit status."""
    today = datetime.now(UTC).date()
    if report := _made(arguments, today):
        REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if not REPORT.exists():
        sys.stdout.write("There is no report yet. Where there is a network: make audit-report.\n")
        return NOT_LOOKED_UP
    verdict = compare(every(), json.loads(REPORT.read_text(encoding="utf-8")), today)
    sys.stdout.write("\n".join(verdict.lines()) + "\n")
    return verdict.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
