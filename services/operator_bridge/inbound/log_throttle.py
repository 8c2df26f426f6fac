"""Saying that messages are refused, without a flood of them becoming a flood of lines."""

import threading
import time
from collections import Counter

from shared.observability.logs import logger

AT_FIRST = 5
_SECONDS = 60.0


class Complaints:
    """The first few of each kind are told, of the others in the same minute only how many there were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._since = time.monotonic()

    def tell(self, operator: str, **facts: object) -> None:
        """Logs a refusal, or counts it."""
        with self._lock:
            ended = self._end_minute()
            self._counts[operator] += 1
            silent = self._counts[operator] > AT_FIRST
        for name, number in ended.items():
            if number > AT_FIRST:
                logger().warning("bad_signatures", operator=name, refused=number, not_told=number - AT_FIRST)
        if not silent:
            logger().warning("bad_signature", operator=operator, **facts)

    def _end_minute(self) -> Counter[str]:
        if time.monotonic() - self._since < _SECONDS:
            return Counter()
        ended, self._counts, self._since = self._counts, Counter(), time.monotonic()
        return ended
