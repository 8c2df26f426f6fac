"""`python -m souche.commands.health`: exits 0 if the process of this container works.

It runs every few seconds in every container, so it imports next to nothing. It reads the file that SOUCHE_HEARTBEAT
names: a web server has written its address there, a worker and beat touch it.
"""

import os
import sys
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

# A worker and beat touch the file every few seconds; a busy machine may make them late.
_PATIENCE_SECONDS = 60.0
_TIMEOUT_SECONDS = 10.0


def beat() -> None:
    """Touches the heartbeat file, if there is one."""
    if path := os.environ.get("SOUCHE_HEARTBEAT"):
        Path(path).touch()


def announce(port: int) -> None:
    """Writes the address of a web server to the heartbeat file, if there is one."""
    if path := os.environ.get("SOUCHE_HEARTBEAT"):
        Path(path).write_text(f"{port} /readyz", encoding="utf-8")


def works() -> bool:
    """Whether the web server can serve, or the worker or beat was seen alive within the last minute."""
    file = Path(os.environ.get("SOUCHE_HEARTBEAT", ""))
    try:
        address, age = file.read_text(encoding="utf-8"), time.time() - file.stat().st_mtime
    except OSError:
        return False
    return _is_ready(address) if address else age < _PATIENCE_SECONDS


def _is_ready(address: str) -> bool:
    """Whether a web server on this machine answers that it can serve; `address` is `port path`."""
    port, path = address.split()
    connection = HTTPConnection("127.0.0.1", int(port), timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (HTTPException, OSError):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not works())
