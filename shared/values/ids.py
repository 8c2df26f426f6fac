"""Identifiers: UUIDv7, so that rows made one after another lie side by side in an index."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A fresh UUIDv7 (RFC 9562)."""
    made: UUID = uuid7()
    return made
