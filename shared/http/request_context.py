"""What a view stands on: the runtime of its application, and the transaction of its request."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from flask import Response, g
from sqlalchemy.orm import Session

from shared.http import service
from shared.process.runtime import Runtime

_WAIT = sa.text("SET LOCAL idle_in_transaction_session_timeout = '1h'")


def runtime() -> Runtime:
    """The runtime of the application that serves this request."""
    return service.current().runtime


@contextmanager
def transaction() -> Iterator[Session]:
    """The transaction of this request: a block within another joins it, and the outermost one commits."""
    if "session" in g:
        yield g.session
        return
    with runtime().transaction() as g.session:
        try:
            yield g.session
        finally:
            g.pop("session")


def wait_for_others() -> None:
    """Lets this request's own transaction, if it has one open, wait while the view works in several others.

    It holds no row but its Idempotency-Key, so it may wait longer than one that stopped half way.
    """
    if "session" in g:
        g.session.execute(_WAIT)


def csv_file(name: str, lines: Iterable[str]) -> Response:
    """A CSV file of this name to save, streamed line by line.

    It begins here, so that what fails at once is answered as a problem and not as half a file.
    """
    rest = iter(lines)
    begun = _begun(next(rest, ""), rest)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(begun, content_type="text/csv; charset=utf-8", headers=headers)


def _begun(first: str, rest: Iterator[str]) -> Iterator[str]:
    """A generator, so that the server closes what it reads from when the reader goes away."""
    yield first
    yield from rest


def pdf_file(name: str, content: bytes | Iterable[bytes]) -> Response:
    """A PDF of this name, shown where the reader's program can."""
    headers = {"Content-Disposition": f'inline; filename="{name}.pdf"'}
    return Response(content, content_type="application/pdf", headers=headers)
