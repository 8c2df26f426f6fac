"""`make up`: how long until the first 201, and what memory the whole stack takes when nobody asks anything of it.

Memory is what its processes have by themselves and their share of what they have in common (PSS).
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from benchmarks.table import Line

_ROOT = Path(__file__).parents[1]
_PATIENCE_SECONDS = 900.0
_IDLE_SECONDS = 20.0
_KILOBYTES = 1024
_STAYS = "Ctrl-C"


class NeverReady(Exception):
    """What was waited for did not come in time."""


def idle(quick: bool) -> Iterator[Line]:
    """Starts it, waits until the year is played, and leaves it alone for a while; `quick` is no quicker."""
    with tempfile.TemporaryDirectory(prefix="souche-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        began = time.time()
        with _up(folder) as (process, output):
            first = _first_created(folder) - began
            _wait_until_it_stays(output, process)
            time.sleep(_IDLE_SECONDS)
            memory = sorted(_memory(process.pid).items(), key=lambda entry: -entry[1])
    total = sum(megabytes for _, megabytes in memory)
    yield Line(
        "`make up` to the first 201", f"{first:.1f} s", "–", "–", "", "say it", note="the environment is made already"
    )
    note = ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in memory)
    yield Line("memory of the whole idle stack", f"{total:,.0f} MB", "–", "–", "", "say it", note=f"{note} (MB)")


@contextlib.contextmanager
def _up(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    output = folder / "output"
    environ = os.environ | {"TMPDIR": str(folder), "LOG_LEVEL": "INFO"}
    with output.open("wb") as to:
        process = subprocess.Popen(["make", "up"], cwd=_ROOT, env=environ, stdout=to, stderr=to, start_new_session=True)  # noqa: S607
    try:
        yield process, output
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _first_created(folder: Path) -> float:
    """The instant of the first 201 in any log, in seconds since 1970."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = [instant for log in folder.glob("souche-*/logs/*.log") for instant in _created(log)]
        if found:
            return min(found)
        time.sleep(0.5)
    raise NeverReady("no 201 was logged")


def _created(log: Path) -> Iterator[float]:
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            if entry["status"] == 201:
                yield datetime.fromisoformat(entry["timestamp"]).timestamp()


def _wait_until_it_stays(output: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _STAYS not in output.read_text(encoding="utf-8", errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NeverReady(output.read_text(encoding="utf-8", errors="replace"))
        time.sleep(1)


def _memory(pid: int) -> dict[str, float]:
    """Megabytes by what a process is, of this one and all that it started."""
    found: dict[str, float] = {}
    for member in _family(pid):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{member}/smaps_rollup").read_text(encoding="utf-8")
            kilobytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            name = _name(Path(f"/proc/{member}/cmdline").read_bytes().decode().split("\0"))
            found[name] = found.get(name, 0.0) + kilobytes / _KILOBYTES
    return found


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text(encoding="utf-8").split():
            yield from _family(int(child))


def _name(command: list[str]) -> str:
    program = Path(command[0].partition(":")[0]).name
    if "souche" in command:
        return " ".join(command[command.index("souche") + 1 :][:2]).strip()
    return program if "-m" not in command else command[command.index("-m") + 1]
