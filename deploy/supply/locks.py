"""What the lock files name: every package with its version and the hashes of its files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-dev.lock")

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True, order=True)
class Pin:
    """A package as a lock file names it."""

    name: str
    """As PEP 503 normalises it."""
    version: str
    hashes: tuple[str, ...]
    """SHA-256, in hexadecimal."""


def normalised(name: str) -> str:
    """A package's name, however it was written."""
    return _SEPARATORS.sub("-", name).lower()


def read(lock: Path) -> list[Pin]:
    """The pins of a lock file, in its order; raises ValueError at a line that names no exact version."""
    return [_pin(line) for line in _entries(lock.read_text(encoding="utf-8"))]


def _entries(text: str) -> list[str]:
    """The lines, those that go on in the next one joined, without comments."""
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _pin(entry: str) -> Pin:
    found = _PIN.match(entry)
    if found is None:
        raise ValueError(f"{entry!r} names no exact version.")
    return Pin(normalised(found[1]), found[2], tuple(_HASH.findall(entry)))


def every(locks: Iterable[Path] = LOCKS) -> list[Pin]:
    """The pins of several lock files, each once, by name."""
    return sorted({pin for lock in locks for pin in read(lock)})
