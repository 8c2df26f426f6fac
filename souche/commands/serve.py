"""`souche serve`: the web server of a service."""

import gc
import os
import socket
import tempfile
from pkgutil import resolve_name
from typing import Any

import click
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from shared.settings.settings import SERVICES, load
from souche.commands import health, recall

PORTS = {"issuer": 8001, "redeemer": 8002, "operator_bridge": 8003}


@click.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), help="8001, 8002 or 8003 by default, by service.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--threads", type=click.IntRange(1), default=8, show_default=True, help="Threads of each process.")
def serve(service: str, host: str, port: int | None, workers: int, threads: int) -> None:
    """Serve SERVICE over HTTP.

    Every thread may hold one database connection: DATABASE_POOL_SIZE should be no less than --threads. As many
    processes as there are cores serve most.
    """
    settings = load(service)  # a wrong setting ends the command here, and not in each process of the server
    port = port or PORTS[service]
    _refuse_taken(host, port)
    if workers > 1:  # the processes add up their counters in files, so that each can report those of all
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="souche-metrics-"))
    recall.before_work(settings)
    health.announce(port)
    Granian(
        f"services.{service}:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=workers,
        blocking_threads=threads,
        backlog=1024,
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
        websockets=False,
    ).serve(target_loader=_application)


def _application(target: str) -> Any:
    """The application of one process, from the address of its factory, `module:name`.

    What it is made of stays as long as the process: left to the garbage collector it would all be searched again and
    again while requests make many objects.
    """
    made = resolve_name(target)()
    gc.collect()
    gc.freeze()
    return made


def _refuse_taken(host: str, port: int) -> None:
    """The server would share a port with another process (SO_REUSEPORT), and callers would reach either."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise click.ClickException(f"{host}:{port} cannot be listened on: {error.strerror}") from None
