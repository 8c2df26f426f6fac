"""Compares the lock files with a stored report of known vulnerabilities: needs no network, and says how old it is.

`python -m deploy.supply.audit` checks, and ends with 1 where a locked version is vulnerable or is not in the report.
`python -m deploy.supply.audit store <file>` takes the JSON of pip-audit, which does need the network, as the report.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from deploy.supply.locks import Pin, every, normalised

REPORT = Path(__file__).with_name("report.json")
OLD_AFTER_DAYS = 30


@dataclass(frozen=True)
class Verdict:
    """What the report says of the locks."""

    age_days: int
    checked: int
    vulnerable: tuple[str, ...]
    """As `name version: id (mended in …)`."""
    absent: tuple[str, ...]
    """As `name version`."""

    @property
    def passes(self) -> bool:
        """Whether everything that is locked was looked up, and nothing is known against it."""
        return not self.vulnerable and not self.absent

    def lines(self) -> list[str]:
        """The verdict, to read."""
        told = [f"The report of known vulnerabilities is {self.age_days} days old.{_advice(self.age_days)}"]
        told += [f"VULNERABLE {each}" for each in self.vulnerable]
        told += [f"NOT LOOKED UP {each}" for each in self.absent]
        found = f"{len(self.vulnerable)} faults, {len(self.absent)} packages not looked up"
        return [*told, f"{self.checked} packages are locked: {found}."]


def _advice(age_days: int) -> str:
    return "" if age_days <= OLD_AFTER_DAYS else f" Older than {OLD_AFTER_DAYS}: make audit-report."


def compare(pins: Iterable[Pin], report: dict[str, Any], today: date) -> Verdict:
    """What a report says of what is locked."""
    known = {(normalised(one["name"]), one["version"]): one["vulns"] for one in report["dependencies"]}
    wanted = sorted({(pin.name, pin.version) for pin in pins})
    found = [(name, version, each) for name, version in wanted for each in known.get((name, version), ())]
    return Verdict(
        age_days=(today - date.fromisoformat(report["made_on"])).days,
        checked=len(wanted),
        vulnerable=tuple(f"{name} {version}: {_told(each)}" for name, version, each in found),
        absent=tuple(f"{name} {version}" for name, version in wanted if (name, version) not in known),
    )


def _told(vulnerability: dict[str, Any]) -> str:
    also = f" ({', '.join(vulnerability['aliases'])})" if vulnerability["aliases"] else ""
    mended = ", ".join(vulnerability["fix_versions"])
    return f"{vulnerability['id']}{also}, {f'mended in {mended}' if mended else 'not mended yet'}"


def stored(found: dict[str, Any], today: date) -> dict[str, Any]:
    """The report of a day, of what pip-audit printed; descriptions are left to the databases.

    What pip-audit could not look up is left out, so that it is told as such.
    """
    looked_up = [one for one in found["dependencies"] if "skip_reason" not in one]
    kept = {(normalised(one["name"]), one["version"]): [_kept(each) for each in one["vulns"]] for one in looked_up}
    lines = [{"name": name, "version": version, "vulns": kept[name, version]} for name, version in sorted(kept)]
    return {"made_on": today.isoformat(), "made_by": "pip-audit", "dependencies": lines}


def _kept(vulnerability: dict[str, Any]) -> dict[str, Any]:
    return {name: vulnerability.get(name, []) for name in ("id", "aliases", "fix_versions")}


def main(arguments: Sequence[str]) -> int:
    """Checks, or stores a report first; returns the exit status."""
    today = datetime.now(UTC).date()
    if arguments[:1] == ["store"]:
        report = stored(json.loads(Path(arguments[1]).read_text(encoding="utf-8")), today)
        REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if not REPORT.exists():
        sys.stdout.write("There is no report yet. Where there is a network: make audit-report.\n")
        return 1
    verdict = compare(every(), json.loads(REPORT.read_text(encoding="utf-8")), today)
    sys.stdout.write("\n".join(verdict.lines()) + "\n")
    return 0 if verdict.passes else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
