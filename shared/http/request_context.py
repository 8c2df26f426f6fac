"""What a view stands on: the parts of its application, the transaction of its request, the files that it answers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import sqlalchemy as sa
from flask import Response, current_app, g
from sqlalchemy.orm import Session

from shared.access.login import Refusals, Register
from shared.access.oidc_provider import Provider
from shared.access.token_lockout import TokenLockout
from shared.access.tokens import Verifier
from shared.http.metrics import Metrics
from shared.limiting.rate_limit import RateLimit
from shared.limiting.slow_bodies import SlowBodies
from shared.process.runtime import Runtime

_WAIT = sa.text("SET LOCAL idle_in_transaction_session_timeout = '1h'")


@dataclass
class Service:
    """The parts of one process of a service. `app.extensions["souche"]` is it, as rooms below this one reach it."""

    runtime: Runtime
    verifier: Verifier
    token_lockout: TokenLockout
    login_refusals: Refusals
    rate_limit: RateLimit
    slow_bodies: SlowBodies
    metrics: Metrics
    provider: Provider | None = None
    """The OpenID Connect provider by which people log in; None where none is configured."""
    register: Register | None = None
    """The places that tokens may be scoped to; None where the service has none."""


def service() -> Service:
    """The parts of the application that serves this request."""
    return cast(Service, current_app.extensions["souche"])


def runtime() -> Runtime:
    """The runtime of the application that serves this request."""
    return service().runtime


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
    """Lets this request's own transaction, which locks only its Idempotency-Key, be idle while the view uses others."""
    if "session" in g:
        g.session.execute(_WAIT)


def csv_file(name: str, lines: Iterable[str]) -> Response:
    """A CSV file of this name to save, streamed line by line.

    The first line is read here, so that an early failure is answered as a problem and not as half a file.
    """
    rest = iter(lines)
    begun = _begun(next(rest, ""), rest)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(begun, content_type="text/csv; charset=utf-8", headers=headers)


def _begun(first: str, rest: Iterator[str]) -> Iterator[str]:
    """A generator, so that the server closes the lines when the client goes away."""
    yield first
    yield from rest


def pdf_file(name: str, content: bytes | Iterable[bytes]) -> Response:
    """A PDF of this name, shown where the reader's program can."""
    headers = {"Content-Disposition": f'inline; filename="{name}.pdf"'}
    return Response(content, content_type="application/pdf", headers=headers)
