"""Refused messages in the log, without a flood of them becoming a flood of lines."""

import threading
import time
from collections import Counter

from shared.observability.logs import logger

MAX_LINES = 5
"""Refusals of an operator that are logged one by one in a minute; the others are only counted."""
_SECONDS = 60.0


class RefusalLog:
    """Logs the first refusals of each operator in a minute, and the number of the others at its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._since = time.monotonic()

    def log(self, operator: str, **facts: object) -> None:
        """Logs a refusal, or counts it."""
        with self._lock:
            ended = self._end_minute()
            self._counts[operator] += 1
            silent = self._counts[operator] > MAX_LINES
        for name, number in ended.items():
            if number > MAX_LINES:
                logger().warning("bad_signatures", operator=name, refused=number, not_logged=number - MAX_LINES)
        if not silent:
            logger().warning("bad_signature", operator=operator, **facts)

    def _end_minute(self) -> Counter[str]:
        if time.monotonic() - self._since < _SECONDS:
            return Counter()
        ended, self._counts, self._since = self._counts, Counter(), time.monotonic()
        return ended
