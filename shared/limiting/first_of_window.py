"""Recording the first few of a flood of events, and counting the others."""

import threading
import time
from collections import Counter


class FirstOfWindow:
    """Lets the first few events of each kind in a window of time be recorded, and counts those withheld."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._lock = threading.Lock()
        self._since, self._recorded, self._withheld = time.monotonic(), Counter[str](), Counter[str]()

    def withheld(self, kind: str) -> int | None:
        """How many of a kind were withheld since the last that was recorded; None where this one is withheld too."""
        now = time.monotonic()
        with self._lock:
            if now - self._since >= self._seconds:
                self._since, self._recorded = now, Counter()
            if self._recorded[kind] >= self._most:
                self._withheld[kind] += 1
                return None
            self._recorded[kind] += 1
            return self._withheld.pop(kind, 0)
