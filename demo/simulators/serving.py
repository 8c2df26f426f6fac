"""A simulated operator as a real HTTP server: one process, threads, kept-alive connections."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, as a real operator's are

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs nothing: a year in a minute would be a long log."""


def _server(app: Flask, port: int) -> BaseWSGIServer:
    """On this machine alone, but in a container, which has an address of its own."""
    host = os.environ.get("SIMULATOR_HOST", "127.0.0.1")
    return make_server(host, port, app, threaded=True, request_handler=_Handler)


def serve(app: Flask, port: int, name: str) -> None:
    """Serves until the process is stopped, and prints a line when it is ready."""
    server = _server(app, port)
    sys.stdout.write(f"{name} (simulated) is ready at http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


@contextmanager
def serving(app: Flask, port: int = 0) -> Iterator[str]:
    """Serves in this process for the length of the block, and gives the address."""
    server = _server(app, port)
    thread = threading.Thread(target=server.serve_forever, name="simulator", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def member(body: Any, name: str) -> Any:
    """A member of a request's JSON object, None where it has none."""
    return body.get(name) if isinstance(body, dict) else None
