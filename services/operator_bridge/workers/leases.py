"""Leases: session locks of PostgreSQL (pg_advisory_lock), which a worker holds for as long as it lives.

They need no timeout and are lost with the database's connection: then work may be done twice, so nothing but speed
stands on them.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from shared.process.runtime import Runtime

_TAKE = sa.text("SELECT pg_try_advisory_lock(:key)")
_GIVE_BACK = sa.text("SELECT pg_advisory_unlock(:key)")
_KEY = sa.text("SELECT hashtextextended(:name, 0)")


@contextmanager
def taken(runtime: Runtime) -> Iterator[int]:
    """A lease of this worker's own, by its number, for the length of the block."""
    key = secrets.randbits(63)
    with _connected(runtime) as connection, _held(connection, key):
        yield key


@contextmanager
def alone(runtime: Runtime, name: str) -> Iterator[bool]:
    """Whether nobody else does this now: it saves work and keeps workers free."""
    with _connected(runtime) as connection:
        key = connection.execute(_KEY, {"name": name}).scalar_one()
        with _held(connection, key) as first:
            yield first


def _connected(runtime: Runtime) -> sa.Connection:
    return runtime.engine.connect().execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def _held(connection: sa.Connection, key: int) -> Iterator[bool]:
    first = bool(connection.execute(_TAKE, {"key": key}).scalar_one())
    try:
        yield first
    finally:
        if first:
            try:
                connection.execute(_GIVE_BACK, {"key": key})
            except OperationalError:
                connection.invalidate()  # a broken connection has no lock any more
