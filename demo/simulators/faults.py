"""Faults on demand: each is ordered for a number of times and happens that often.

A fault has one name, whichever operator it happens to. What it means there stands in the simulator's `FAULTS` where it
is not as here; which cannot happen there, and why, in its `WITHOUT`. Each is in one or the other: a test looks.
"""

import threading
from collections.abc import Iterable, Mapping

CALLS: Mapping[str, str] = {
    "slow": "a call is worked off `seconds` later than it came",
    "too_many": "429 with Retry-After `seconds`; nothing is done",
    "unavailable": "503 with Retry-After `seconds`; nothing is done",
    "error": "500; nothing is done",
    "expired_token": "the token that was given is good no longer",
    "refuse": "every operation of a call is refused",
    "time_out_after_doing": "it is done, and answered `seconds` later than anybody waits for",
    "cut": "it is done, and the connection is cut in the middle of the answer",
    "malformed_body": "it is done, and what is answered is no JSON",
    "answer_twice": "each outcome is in the answer twice",
    "out_of_order": "the outcomes are in the reverse order",
    "half_an_answer": "it is done, and every other outcome is missing from the answer",
    "die": "half of the operations of a call are done; then the operator is gone for good",
}
"""What may go wrong when an operator is called, by name: the same names for all simulators."""

MESSAGES: Mapping[str, str] = {
    "lose_webhooks": "a message is never sent",
    "late_webhooks": "a message is sent `seconds` later",
    "repeat_webhooks": "a message is sent twice, the second time under another id",
    "disorder_webhooks": "a message is sent after the next one, or at any moment within `seconds` if there are any",
    "bad_signature": "a message is signed with a wrong key, then again rightly",
    "old_key": "a message is signed with the key that is being replaced",
    "malformed_webhooks": "a message says nothing that can be read",
}
"""What may go wrong with an operator's own messages."""

STATEMENTS: Mapping[str, str] = {
    "wrong_amounts": "a cheque is on the statement with a cent too many",
    "duplicate_lines": "a line is on the statement twice",
    "missing_lines": "a cheque is not on the statement",
    "missing_outcomes": "something that happened is not on the statement",
    "unknown_lines": "a cheque that nobody knows is on the statement",
    "malformed_statement": "a line lacks a member",
}
"""What may go wrong with a statement; each counts for one line."""

FILES: Mapping[str, str] = {
    "repeat_files": "an acknowledgement file is given twice, under two names",
    "disorder_files": "an acknowledgement file is given after the next one",
    "old_statement": "the statement before is given again, as if it were new",
}
"""What may go wrong with files."""


class Faults:
    """What is to go wrong."""

    def __init__(self, names: Iterable[str]) -> None:
        self._left = dict.fromkeys(names, 0)
        self._seconds = dict.fromkeys(self._left, 0.0)
        self._lock = threading.Lock()

    def order(self, name: str, times: int, seconds: float) -> None:
        """Makes a fault happen so many times, each for so many seconds where it has a length; raises KeyError."""
        with self._lock:
            if name not in self._left:
                raise KeyError(name)
            self._left[name], self._seconds[name] = times, seconds

    def clear(self) -> None:
        """Ends all faults."""
        with self._lock:
            self._left = dict.fromkeys(self._left, 0)

    def happens(self, name: str) -> bool:
        """Whether the fault happens now, never where this operator has none of the name; one time less from then on."""
        with self._lock:
            if self._left.get(name, 0) <= 0:
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
