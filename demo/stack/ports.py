"""The ports of the three services: the usual ones, or the next that are free."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from souche.commands.serve import PORTS

LOCK = Path(f"/tmp/souche-ports-{os.getuid()}.lock")  # noqa: S108 (nothing is in it, and nobody else opens it)


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Two stacks that start at once choose their ports one after the other, wherever they keep their files."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_ports() -> dict[str, int]:
    """8001, 8002 and 8003, or for each the next free port."""
    chosen: dict[str, int] = {}
    for service, wanted in PORTS.items():
        chosen[service] = next(port for port in range(wanted, 65536) if port not in chosen.values() and _is_free(port))
    return chosen


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
