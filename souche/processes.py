"""The processes of a deployment: a web server and a worker per service, and one beat."""

import importlib
import socket
from typing import Any

import click
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from shared import logs
from shared.celery import sweeps
from shared.config import SERVICES, load
from shared.runtime import Runtime

# Beat needs the broker's address and no secret: this service holds no keys.
SERVICE_WITHOUT_KEYS = "operator_bridge"
PORTS = {"issuer": 8001, "redeemer": 8002, "operator_bridge": 8003}
BACKLOG = 1024

service_argument = click.argument("service", type=click.Choice(SERVICES))


@click.command()
@service_argument
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), help="8001, 8002 or 8003 by default, by service.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--threads", type=click.IntRange(1), default=8, show_default=True, help="Threads of each process.")
def serve(service: str, host: str, port: int | None, workers: int, threads: int) -> None:
    """Serve SERVICE over HTTP.

    Every thread may hold one database connection: DATABASE_POOL_SIZE should be no less than --threads.
    """
    load(service)  # a wrong setting is told here, in one line, and not by each process of the server
    port = port or PORTS[service]
    _refuse_taken(host, port)
    Granian(
        f"services.{service}:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=workers,
        blocking_threads=threads,
        backlog=BACKLOG,
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
        websockets=False,
    ).serve()


@click.command()
@service_argument
@click.option("--concurrency", type=click.IntRange(1), default=2, show_default=True, help="Tasks at once.")
def worker(service: str, concurrency: int) -> None:
    """Run the Celery worker of SERVICE: it takes from the queue of that name, and from no other."""
    runtime = _runtime(service)
    runtime.celery.set_current()
    importlib.import_module(f"services.{service}.tasks")
    runtime.celery.worker_main(
        [
            "worker",
            f"--queues={service}",
            f"--concurrency={concurrency}",
            f"--hostname={service}@%h",
            f"--loglevel={runtime.settings.log_level}",
            "--without-gossip",
            "--without-mingle",
        ]
    )


@click.command()
def beat() -> None:
    """Run the clock of all three services; a second one does no harm, as every tick may come twice."""
    runtime = _runtime(SERVICE_WITHOUT_KEYS)
    runtime.celery.conf.beat_schedule = _schedule(runtime)
    runtime.celery.Beat(loglevel=runtime.settings.log_level, quiet=True).run()


def _refuse_taken(host: str, port: int) -> None:
    """The server would share a port with another process (SO_REUSEPORT), and callers reach now one, now the other."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise click.ClickException(f"{host}:{port} cannot be listened on: {error.strerror}") from None


def _runtime(service: str) -> Runtime:
    settings = load(service)
    logs.configure(service, settings.log_level)
    return Runtime(settings)


def _schedule(runtime: Runtime) -> dict[str, Any]:
    entries = dict(sweeps(runtime.settings))
    for service in SERVICES:
        own = importlib.import_module(f"services.{service}.tasks").BEAT
        entries |= {f"{service}: {name}": entry for name, entry in own.items()}
    return entries
