"""The rate limit: by caller for requests with a valid token, by address for all others.

A good token is never refused for what others at its address do, so no till is shut out by its neighbours, not even
behind a proxy that hides them. No request waits for Redis, which may be down: each process counts for itself, by the
minute of the clock, and shares a busy caller's counts through Redis a few at a time. The other services, operators'
messages, whose signatures cost next to nothing, `/healthz` and `/readyz` are not counted.
"""

import hashlib
import threading
import time
from dataclasses import dataclass
from typing import Any

import redis
from flask import current_app, request

from shared.limiting.client_address import client_network
from shared.observability.logs import logger
from shared.problems import TooMany
from shared.settings.settings import Settings

WINDOW_SECONDS = 60
# A process shares its counts and reads those of the others at each tenth of the limit: a caller may get at most that
# many requests, times the processes, beyond it.
_SHARES = 10
_SILENT_SECONDS = 10.0
_REDIS_SECONDS = 0.2
# Beyond it, callers new in this minute are not counted: so many addresses can only be slow ones.
_MAX_TALLIES = 20_000


@dataclass
class _Tally:
    own: int = 0
    unshared: int = 0
    of_others: int = 0


class RateLimit:
    """The counts of one process, and what it last read of those of its service's other processes."""

    def __init__(self, service: str, store: redis.Redis) -> None:
        self._service, self._store = service, store
        self._lock = threading.Lock()
        self._minute, self._tallies = 0, dict[str, _Tally]()
        self._silent_until = float("-inf")

    def take(self, whose: str, limit: int) -> None:
        """Counts a request; raises TooMany beyond the limit within this minute, never where it is 0."""
        if not limit:
            return
        minute, second = divmod(int(time.time()), WINDOW_SECONDS)
        counted = self._count(whose, minute)
        if counted is None:
            return
        tally, number = counted
        if number + tally.of_others <= limit and tally.unshared * _SHARES >= limit:
            self._share(whose, minute, tally)
        if number + tally.of_others > limit:
            detail = f"At most {limit} requests a minute are answered. Wait for the seconds of Retry-After."
            headers = {"Retry-After": str(WINDOW_SECONDS - second)}
            raise TooMany(detail, headers=headers, error="slow_down")

    def _count(self, whose: str, minute: int) -> tuple[_Tally, int] | None:
        """The tally, and its number of requests with this one; None where there are too many tallies."""
        with self._lock:
            if minute != self._minute:
                self._minute, self._tallies = minute, {}
            tally = self._tallies.get(whose)
            if tally is None:
                if len(self._tallies) >= _MAX_TALLIES:
                    return None
                tally = self._tallies[whose] = _Tally()
            tally.own += 1
            tally.unshared += 1
            return tally, tally.own

    def _share(self, whose: str, minute: int, tally: _Tally) -> None:
        """Shares what was counted here and reads what the others counted; at once, or not at all."""
        with self._lock:
            if time.monotonic() < self._silent_until:
                return
            counted, tally.unshared = tally.unshared, 0
        key = f"souche:rate_limit:{self._service}:{minute}:{hashlib.sha256(whose.encode()).hexdigest()[:32]}"
        pipeline: Any = self._store.pipeline(transaction=False)
        try:
            total, _ = pipeline.incrby(key, counted).expire(key, 2 * WINDOW_SECONDS).execute()
        except redis.RedisError as error:
            self._silent_until = time.monotonic() + _SILENT_SECONDS
            logger().warning("rate_limit_not_shared", error=type(error).__name__)
            with self._lock:
                tally.unshared += counted
            return
        with self._lock:
            tally.of_others = max(tally.of_others, int(total) - (tally.own - tally.unshared))


def store(settings: Settings) -> redis.Redis:
    """A connection of its own to Redis, with short timeouts."""
    return redis.Redis.from_url(
        settings.redis_url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS, retry=None
    )


def of_caller(caller: str) -> None:
    """Counts a request with a good token; raises TooMany beyond REQUESTS_PER_CALLER a minute."""
    service = current_app.extensions["souche"]
    service.rate_limit.take(f"caller {caller}", service.runtime.settings.requests_per_caller)


def of_stranger() -> None:
    """Counts a request without a valid token at its address; raises TooMany beyond REQUESTS_PER_ADDRESS a minute."""
    service = current_app.extensions["souche"]
    network, settings = client_network(request.remote_addr), service.runtime.settings
    service.rate_limit.take(f"address {network}", settings.requests_per_address)
