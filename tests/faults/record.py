"""What the clients know: what was answered 201, what was refused, what got no answer.

Nothing in it comes from the services' tables, so that it can be held against them.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["done", "refused", "unanswered"]
SPENDABLE, REDEEMED, CANCELLED = "spendable", "redeemed", "cancelled"


@dataclass
class Entry:
    """One thing that a client asked for, and what it was told."""

    kind: str
    key: str
    outcome: Outcome
    answer: dict[str, Any]
    codes: tuple[str, ...] = field(default=(), repr=False)
    subject: str = ""
    """The redemption or the cheque it was about."""


@dataclass
class Record:
    """The clients' record."""

    entries: list[Entry] = field(default_factory=list)
    answers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each service served, in seconds of the monotonic clock."""
    cheques: dict[str, set[str]] = field(default_factory=dict)
    """The states in which each cheque of a grant that was answered 201 may be; one, unless an answer is missing."""
    counted: Counter[str] = field(default_factory=Counter)
    """Requests sent, and those whose answer was thrown away or asked for once more on purpose."""
    began: float = 0.0
    ended: float = 0.0
    """From when to when the clients worked, by the same clock."""
    wrong: list[str] = field(default_factory=list)
    """Answers that can never be right, whatever happened."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self.counted["requests"]

    def of(self, kind: str, outcome: Outcome | None = None) -> list[Entry]:
        """The entries of a kind."""
        return [each for each in self.entries if each.kind == kind and outcome in (None, each.outcome)]

    def add(self, entry: Entry) -> None:
        """Writes down what came of a request."""
        with self.lock:
            self.entries.append(entry)

    def count(self, what: str) -> None:
        """One more of these."""
        with self.lock:
            self.counted[what] += 1

    def served(self, by: str) -> None:
        """A service has just answered, and said yes or no."""
        with self.lock:
            self.answers[by].append(time.monotonic())

    def blame(self, what: str) -> None:
        """Notes what can never be right."""
        with self.lock:
            self.wrong.append(what)

    def became(self, cheques: Iterable[str], state: str, entry: Entry) -> None:
        """Cheques of which a client asked that they get a state: they have it, or may have it if no answer came."""
        with self.lock:
            for cheque in cheques:
                if entry.outcome == "done":
                    self.cheques[cheque] = {state}
                elif entry.outcome == "unanswered":
                    self.cheques[cheque] |= {state}
