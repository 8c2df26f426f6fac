"""What a container says of itself: by a sign of life, or by whether its web server can serve."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from souche.commands import health


@pytest.fixture
def heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOUCHE_HEARTBEAT", str(tmp_path / "heartbeat"))
    return tmp_path / "heartbeat"


class Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_process_that_has_shown_nothing_yet_is_not_well(heartbeat: Path) -> None:
    assert not heartbeat.exists()
    assert not health.works()


def test_a_worker_is_well_as_long_as_it_shows_life(heartbeat: Path) -> None:
    health.beat()
    assert health.works()
    long_ago = time.time() - 120
    os.utime(heartbeat, (long_ago, long_ago))
    assert not health.works()


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_a_web_server_is_well_when_it_says_that_it_is_ready(
    status: int, well: bool, heartbeat: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "status", status)
    health.announce(port)
    assert heartbeat.exists()
    assert health.works() is well


def test_a_web_server_that_is_gone_is_not_well(heartbeat: Path) -> None:
    heartbeat.write_text("9 /readyz")
    assert not health.works()


def test_where_nobody_looks_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOUCHE_HEARTBEAT", raising=False)
    monkeypatch.chdir(tmp_path)
    health.beat()
    health.announce(8001)
    assert list(tmp_path.iterdir()) == []


def test_the_container_is_told_by_the_exit_code(heartbeat: Path) -> None:
    command = [sys.executable, "-m", "souche.commands.health"]
    assert subprocess.run(command, check=False).returncode == 1
    health.beat()
    assert subprocess.run(command, check=False).returncode == 0
