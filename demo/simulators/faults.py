"""Faults on demand: each is ordered for a number of times and happens that often."""

import threading
from collections.abc import Iterable


class Faults:
    """What is to go wrong."""

    def __init__(self, names: Iterable[str]) -> None:
        self._left = dict.fromkeys(names, 0)
        self._seconds = dict.fromkeys(self._left, 0.0)
        self._lock = threading.Lock()

    def order(self, name: str, times: int, seconds: float) -> None:
        """Has a fault happen so many times, each for so many seconds where it has a length; raises KeyError."""
        with self._lock:
            if name not in self._left:
                raise KeyError(name)
            self._left[name], self._seconds[name] = times, seconds

    def clear(self) -> None:
        """Has nothing go wrong any more."""
        with self._lock:
            self._left = dict.fromkeys(self._left, 0)

    def happens(self, name: str) -> bool:
        """Whether the fault happens now; it is one time less from then on."""
        with self._lock:
            if self._left[name] <= 0:
                return False
            self._left[name] -= 1
            return True

    def seconds(self, name: str) -> float:
        """How long the fault lasts, as ordered."""
        return self._seconds[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All there are."""
        return tuple(self._left)
