"""What a view stands on: the runtime of its application, and the transaction of its request."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app, g
from sqlalchemy.orm import Session

from shared.runtime import Runtime


def runtime() -> Runtime:
    """The runtime of the application that serves this request."""
    found: Runtime = current_app.extensions["souche"]
    return found


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
