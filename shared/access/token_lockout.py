"""Failed requests for tokens, counted by address and by client at an address; too many are refused for a minute.

This protects the service, as a secret of 256 bits cannot be guessed. A client's name counts together with the address,
so nobody locks it out from elsewhere; and a program with a good secret gets its token at a locked address too. Each
process also keeps in memory who is locked out.
"""

import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from shared.access import clients
from shared.limiting.client_address import client_network
from shared.observability.logs import logger
from shared.problems import TooMany
from shared.process.runtime import Runtime
from shared.values import clock

PER_ADDRESS, PER_CLIENT = 30, 10

_COUNT = sa.text("""
    INSERT INTO token_failure AS counted (key, minute, failures)
    SELECT key, date_trunc('minute', CAST(:now AS timestamptz)), 1 FROM unnest(CAST(:keys AS bytea[])) AS failed (key)
    ORDER BY key
    ON CONFLICT (key) DO UPDATE SET minute = excluded.minute,
        failures = 1 + CASE WHEN counted.minute = excluded.minute THEN counted.failures ELSE 0 END
    RETURNING key, failures
""")
_FORGET = sa.text("DELETE FROM token_failure WHERE minute < CAST(:now AS timestamptz) - interval '10 minutes'")
_FOUND = sa.text("""
    SELECT key, failures FROM token_failure
    WHERE key = ANY(CAST(:keys AS bytea[])) AND minute = date_trunc('minute', CAST(:now AS timestamptz))
""")


class TokenLockout:
    """The counts of one service, and the lock-outs that this process has read."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._until: dict[bytes, float] = {}

    def check(self, address: str, client_id: str) -> bool:
        """Whether this address is locked out; raises TooMany where this client at it is."""
        keys = _keys(address, client_id)
        self._until = {key: until for key, until in self._until.items() if until > time.monotonic()}
        if not any(key in self._until for key in keys):
            with self._runtime.transaction() as session:
                self._lock(keys, session.execute(_FOUND, {"keys": keys, "now": clock.now()}))
        of_address, of_client = keys
        if of_client in self._until:
            raise too_many()
        return of_address in self._until

    def count(self, address: str, client_id: str) -> bool:
        """Counts a failed request; whether it begins a lock-out."""
        keys, now = _keys(address, client_id), clock.now()
        with self._runtime.transaction() as session:
            locked = self._lock(keys, session.execute(_COUNT, {"keys": keys, "now": now}))
            session.execute(_FORGET, {"now": now})
        if locked:
            # Whatever else was sent in its place is not logged: it may be the secret, sent the wrong way round.
            logger().warning("token_lockout", address=address, client=clients.identifier(client_id))
        return locked

    def _lock(self, keys: Sequence[bytes], rows: Iterable[Any]) -> bool:
        failures = {bytes(row.key): row.failures for row in rows}
        limits = zip(keys, (PER_ADDRESS, PER_CLIENT), strict=True)
        over = [key for key, limit in limits if failures.get(key, 0) >= limit]
        self._until = self._until | dict.fromkeys(over, time.monotonic() + 60 - clock.now().second)
        return bool(over)


def _keys(address: str, client_id: str) -> list[bytes]:
    """What is counted, as digests: no address is kept."""
    address = client_network(address) or ""
    counted = (address, f"{address} {client_id}")
    return [hashlib.sha256(text.encode(errors="replace")).digest()[:16] for text in counted]


def too_many() -> TooMany:
    """The problem with which a locked-out caller is answered."""
    headers = {"Retry-After": str(60 - clock.now().second)}
    detail = "Too many requests for a token were refused. Wait a moment."
    return TooMany(detail, slug="too-many-attempts", headers=headers, error="slow_down")
