"""Processes as the kernel has them: a session, an orphan and a child of a pool belong to whoever started them."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_PARENT, _SESSION = 1, 3  # after the name, which may hold anything (proc_pid_stat(5))


def family(pid: int) -> dict[int, str]:
    """The states of the processes of its session and of all that descend from it, by id; zombies are none."""
    table = dict(_table())
    found = {each for each, fields in table.items() if each == pid or int(fields[_SESSION]) == pid}
    while more := {each for each, fields in table.items() if int(fields[_PARENT]) in found} - found:
        found |= more
    return {each: table[each][0] for each in found if table[each][0] != "Z"}


def signal_family(pid: int, which: signal.Signals) -> None:
    """Signals all of them, those too that were started meanwhile."""
    signalled: set[int] = set()
    while new := set(family(pid)) - signalled:
        for each in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, which)
        signalled |= new


def _table() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                yield int(folder.name), stat.rpartition(")")[2].split()
