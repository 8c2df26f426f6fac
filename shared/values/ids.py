"""Identifiers: UUIDv7, so that rows made one after another lie side by side in an index."""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A fresh UUIDv7 (RFC 9562)."""
    return uuid7()


def lowest_id(instant: datetime) -> UUID:
    """The lowest UUIDv7 that can be made at this instant: a bound for rows by their time."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)
