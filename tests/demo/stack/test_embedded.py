"""The embedded servers: beside one another, after a crash, and gone with whoever started them."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from demo.stack.embedded import EmbeddedPostgres, EmbeddedRedis

STARTS_BOTH_AND_WAITS = """
import sys, time
from pathlib import Path
from demo.stack.embedded import EmbeddedPostgres, EmbeddedRedis
base = Path(sys.argv[1])
postgres, valkey = EmbeddedPostgres.start(base / "pg", durable=False), EmbeddedRedis.start(base / "redis")
print(postgres.process.pid, valkey.process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def base() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="souche-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def connect(server: EmbeddedPostgres) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(server.directory), user="souche", dbname="souche", autocommit=True)


def eventually(true: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def ended(pid: int) -> bool:
    """True when the process is gone, or is a zombie that nobody reaps."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
def test_two_clusters_run_beside_one_another_and_do_not_see_each_other(base: Path) -> None:
    with (
        EmbeddedPostgres.start(base / "a", durable=False) as one,
        EmbeddedPostgres.start(base / "b", durable=False) as two,
    ):
        with connect(one) as connection:
            connection.execute("CREATE TABLE only_in_one ()")
        with connect(two) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT FROM only_in_one")


def test_postgres_can_be_reached_by_nobody_else(base: Path) -> None:
    with EmbeddedPostgres.start(base / "pg", durable=False) as server, connect(server) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert (base / "pg").stat().st_mode & 0o077 == 0


def test_what_was_committed_is_there_after_a_kill(base: Path) -> None:
    with EmbeddedPostgres.start(base / "pg") as server:
        with connect(server) as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        server.kill()
    with EmbeddedPostgres.start(base / "pg") as server, connect(server) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_settings_are_passed_on(base: Path) -> None:
    server = EmbeddedPostgres.start(base / "pg", durable=False, settings={"max_connections": "17"})
    with server, connect(server) as connection:
        assert connection.execute("SHOW max_connections").fetchone() == ("17",)


def test_valkey_keeps_its_queue_through_a_restart_and_never_evicts(base: Path) -> None:
    with EmbeddedRedis.start(base / "redis") as server, redis.Redis.from_url(server.url) as client:
        client.lpush("queue", "bell")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    with EmbeddedRedis.start(base / "redis", server.port) as server, redis.Redis.from_url(server.url) as client:
        assert client.llen("queue") == 1


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux signals the children of a dead process")
def test_nothing_survives_the_kill_of_the_process_that_started_it(base: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTS_BOTH_AND_WAITS, str(base)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        children = [int(pid) for pid in output.readline().split()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert len(children) == 2
    assert eventually(lambda: all(ended(pid) for pid in children))
