"""What is measured runs here: PostgreSQL and Valkey of their own, and web servers started as they are deployed.

PostgreSQL is durable, and `check_durable` refuses to measure it otherwise. It has the settings that
docs/performance.md recommends, so that both sides of a ratio have the same server.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from demo.stack import children, environment
from demo.stack.embedded import EmbeddedPostgres, EmbeddedRedis, free_port
from shared.database.migrations import runner as migrations
from shared.settings.settings import SERVICES
from souche.keys import Signer

SETTINGS = {
    "shared_buffers": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 4 >> 20}MB",
    "min_wal_size": "4GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "1GB",
}
WORKERS, THREADS = 2, 8
"""Of each web server: as many processes as there are cores."""
MUST_BE_ON = ("fsync", "synchronous_commit", "full_page_writes")
_START_SECONDS = 60.0
_LISTEN = "0A"  # as /proc/net/tcp has it
_NOTHING: Mapping[str, str] = MappingProxyType({})


class NotDurable(Exception):
    """The server would lose what it confirmed: what it reaches is no figure."""


@dataclass
class Machine:
    """The servers that a benchmark stands on, and the settings of the services."""

    folder: Path
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    signer: Signer
    environ: dict[str, str]
    life: ExitStack = field(repr=False)
    database: str = "souche"

    def owner(self, service: str) -> sa.Engine:
        """The owner of a service's tables, by whom they are filled; nothing is measured through it."""
        settings = f"-c search_path={service} -c statement_timeout=0"
        return sa.create_engine(
            self.postgres.url(database=self.database), isolation_level="AUTOCOMMIT", connect_args={"options": settings}
        )

    def beside(self, service: str) -> "Machine":
        """The same servers, and a second database in which this service has nothing yet."""
        database = f"beside_{service}"
        engine = sa.create_engine(self.postgres.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {database}")
        engine.dispose()
        url = self.postgres.url(f"souche_{service}", database)
        migrations.upgrade(service, self.postgres.url(database=database), url)
        return replace(self, database=database, environ={**self.environ, f"{service.upper()}_DATABASE_URL": url})

    def serve(self, service: str, environ: Mapping[str, str] = _NOTHING) -> int:
        """Starts a service's web server by the command line that deploys it, and gives its port."""
        port = free_port()
        workers = ["--workers", str(WORKERS), "--threads", str(THREADS)]
        self.start(
            f"{service}-{port}", "-m", "souche", "serve", service, "--port", str(port), *workers, environ=environ
        )
        wait_for(port, WORKERS)
        return port

    def serve_bare(self) -> int:
        """Starts a Flask application that does nothing, under the same server with the same settings."""
        port = free_port()
        granian = ["-m", "granian", "--interface", "wsgi", "--factory", "benchmarks.bare:create_app"]
        size = ["--workers", str(WORKERS), "--blocking-threads", str(THREADS), "--backlog", "1024"]
        self.start(f"bare-{port}", *granian, "--port", str(port), *size, "--no-ws", "--log-level", "warning")
        wait_for(port, WORKERS)
        return port

    def start(self, name: str, *arguments: str, environ: Mapping[str, str] = _NOTHING) -> int:
        """Starts a Python process that ends with us, and gives its number."""
        log = self.folder / f"{name}.log"
        env = {**os.environ, **self.environ, **environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        process = children.spawn([sys.executable, *arguments], log=log, env=env, cwd=self.folder)
        self.life.callback(children.stop, process)
        return process.pid

    def token(self, role: str, scope: Any = None) -> str:
        """The value of an Authorization header."""
        return f"Bearer {self.signer.token(role, scope, 'benchmark')}"


@contextmanager
def machine(*services: str) -> Iterator[Machine]:
    """Servers with the schemas of these services, and nothing in them."""
    with tempfile.TemporaryDirectory(prefix="souche-bench-") as name, ExitStack() as life:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = life.enter_context(EmbeddedPostgres.start(folder / "pg", settings=SETTINGS))
        redis = life.enter_context(EmbeddedRedis.start(folder / "redis"))
        for service in services:
            migrations.upgrade(service, postgres.url(), postgres.url(f"souche_{service}"))
            check_durable(postgres.url(f"souche_{service}"))
        signer = Signer.generate()
        urls = {service: postgres.url(f"souche_{service}") for service in SERVICES}
        addresses = {service: f"http://127.0.0.1:{free_port()}" for service in SERVICES}
        environ = environment.generate(signer, urls, redis.url, addresses)
        yield Machine(folder, postgres, redis, signer, environ, life)


def check_durable(url: str) -> None:
    """Raises NotDurable unless a service's role waits for the disk at each commit."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in MUST_BE_ON}
    engine.dispose()
    off = [name for name, value in found.items() if value != "on"]
    if off:
        raise NotDurable(f"{', '.join(off)} must be on: {found}")


def wait_for(port: int, listeners: int = 1) -> None:
    """Waits until so many processes listen: who connects before that shares what is there already."""
    deadline = time.monotonic() + _START_SECONDS
    while _listening(port) < listeners:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{port} is not listened on by {listeners}")
        time.sleep(0.1)


def _listening(port: int) -> int:
    """How many sockets listen on it; each process of a web server has its own (SO_REUSEPORT)."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    return sum(where.endswith(f":{port:04X}") and state == _LISTEN for _, where, _, state, *_ in table[1:])
