"""A WSGI application behind a real socket, for as long as a test needs it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """The application logs its requests itself."""


@contextmanager
def served(application: Any, address: str) -> Iterator[None]:
    """Serves an application at `http://host:port`."""
    where = urlsplit(address)
    host, port = where.hostname or "127.0.0.1", where.port or 0
    server = make_server(host, port, application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
