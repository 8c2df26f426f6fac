"""What the simulated Docaposte knows, and what it does with an operation; in memory, one thing at a time."""

import bisect
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import count
from typing import Any
from uuid import uuid4

MAX_OPERATIONS = 500
MAX_NAME = 200
PAGE_SIZE = 1000
_REFERENCES_PER_PAYMENT = 500

Line = dict[str, Any]


class Refused(Exception):
    """The operator will not do it; the text is its reason."""


@dataclass
class Cheque:
    """A cheque in the operator's books."""

    number: str
    contract: str
    value_cents: int
    changed_at: str
    blocked: bool = False
    cancelled: bool = False
    redemption: str | None = None
    structure: str | None = None
    payment: str | None = None

    @property
    def status(self) -> str:
        if self.redemption:
            return "redeemed"
        if self.cancelled:
            return "cancelled"
        return "blocked" if self.blocked else "registered"

    @property
    def line(self) -> Line:
        redeemed = self.value_cents if self.redemption else 0
        return {"type": "cheque", "cheque": self.number, "status": self.status, "value_cents": self.value_cents,
                "redeemed_cents": redeemed}  # fmt: skip


@dataclass
class Register:
    """The operator's books."""

    cheques: dict[str, Cheque] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict, repr=False)
    """The cheque's number by its code."""
    structures: dict[str, bool] = field(default_factory=dict)
    """Whether a structure may redeem, by its number."""
    outcomes: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Outcome and reason by our reference."""
    calls: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._journal: list[tuple[str, str, Line]] = []
        self._order: list[Cheque] = []
        self._till, self._payments = count(1), count(1)
        self._work: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            "register": self._register,
            "activate": self._activate,
            "declare": self._declare,
            "reverse": self._reverse,
            "cancel": self._cancel,
            "block": lambda payload: self._block(payload, True),
            "unblock": lambda payload: self._block(payload, False),
            "affiliate": lambda payload: self._affiliate(payload, True),
            "suspend": lambda payload: self._affiliate(payload, False),
        }

    def work_off(self, operations: list[Mapping[str, Any]], refuse: str | None = None) -> list[Line]:
        """Does operations in their order, or refuses them all for a reason, and gives one result for each."""
        with self._lock:
            self.calls += 1
            return [self._result(operation, refuse) for operation in operations]

    def status(self, references: list[str]) -> list[Line]:
        """The outcome of each operation that was seen, by its reference."""
        with self._lock:
            return [
                {"reference": reference, "outcome": self.outcomes[reference][0], "reason": self.outcomes[reference][1]}
                for reference in references
                if reference in self.outcomes
            ]

    def _result(self, operation: Mapping[str, Any], refuse: str | None) -> Line:
        reference = operation["reference"]
        if reference in self.outcomes:
            outcome, reason = self.outcomes[reference]
            return {"reference": reference, "outcome": "duplicate", "original": outcome, "reason": reason}
        try:
            if refuse:
                raise Refused(refuse)
            self._work[operation["operation"]](operation)
            outcome, reason = "accepted", None
        except Refused as refusal:
            outcome, reason = "refused", str(refusal)
        self.outcomes[reference] = (outcome, reason)
        result = {"reference": reference, "outcome": outcome, "reason": reason}
        self._note(operation["contract"], {"type": "operation", **result})
        return result

    def stock(self, contract: str, number: int) -> None:
        """Puts so many cheques of 10 € in the books, as if they had been registered."""
        now = _now()
        with self._lock:
            for _ in range(number):
                cheque = Cheque(str(uuid4()), contract, 1000, now)
                self.cheques[cheque.number] = cheque
                self._order.append(cheque)

    def redeem_at_till(self, structure: str, code: str | None, number: str | None) -> Line:
        """Somebody presents a cheque at the operator's own till; raises KeyError where it is not known, or Refused."""
        with self._lock:
            cheque = self.cheques[self.numbers[_plain(code)] if code else str(number)]
            if not self.structures.get(structure):
                raise Refused("structure-not-affiliated")
            if cheque.status != "registered":
                raise Refused(cheque.status)
            self._spend(cheque, f"TILL-{next(self._till):08}", structure)
            line = {"reference": cheque.redemption, "cheque": cheque.number, "structure": structure,
                    "amount_cents": cheque.value_cents, "redeemed_at": _now()}  # fmt: skip
            self._note(cheque.contract, {"type": "redemption", **line})
            return line

    def pay(self, paid_on: date) -> list[Line]:
        """Pays what is redeemed and unpaid, one payment per contract and structure, and gives the announcements."""
        with self._lock:
            due: dict[tuple[str, str], list[Cheque]] = {}
            for cheque in self._order:
                if cheque.redemption and not cheque.payment:
                    due.setdefault((cheque.contract, cheque.structure or ""), []).append(cheque)
            return [line for (contract, _), cheques in due.items() for line in self._pay(contract, cheques, paid_on)]

    def _pay(self, contract: str, cheques: list[Cheque], paid_on: date) -> Iterator[Line]:
        reference = f"VIR-{next(self._payments):06}"
        for start in range(0, len(cheques), _REFERENCES_PER_PAYMENT):
            part = cheques[start : start + _REFERENCES_PER_PAYMENT]
            for cheque in part:
                cheque.payment = reference
            paid = {
                "payment_reference": reference,
                "paid_on": paid_on.isoformat(),
                "redemptions": [cheque.redemption for cheque in part],
            }
            self._note(contract, {"type": "payment", **paid})
            yield paid

    def statement(self, contract: str, since: str, cursor: str) -> Line:
        """One page of what happened from an instant on, then of the cheques that changed."""
        part, _, position = cursor.partition(":")
        with self._lock:
            if part != "cheques":
                start = int(position) if position else bisect.bisect_left(self._journal, (since,))
                page = self._journal[start : start + PAGE_SIZE]
                lines = [line for _, whose, line in page if whose == contract]
                more = start + PAGE_SIZE < len(self._journal)
                return {"lines": lines, "next": f"journal:{start + PAGE_SIZE}" if more else "cheques:0"}
            start = int(position)
            cheques = self._order[start : start + PAGE_SIZE]
            lines = [cheque.line for cheque in cheques if cheque.contract == contract and cheque.changed_at >= since]
            more = start + PAGE_SIZE < len(self._order)
            return {"lines": lines, "next": f"cheques:{start + PAGE_SIZE}" if more else None}

    def state(self) -> Line:
        """How many cheques, and how many cents of them, by status; and how often we were called."""
        with self._lock:
            by_status: dict[str, dict[str, int]] = {}
            for cheque in self._order:
                held = by_status.setdefault(cheque.status, {"number": 0, "cents": 0})
                held["number"] += 1
                held["cents"] += cheque.value_cents
            return {"cheques": by_status, "structures": len(self.structures), "operations": len(self.outcomes),
                    "calls": self.calls, "paid": sum(1 for cheque in self._order if cheque.payment)}  # fmt: skip

    def _register(self, payload: Mapping[str, Any]) -> None:
        number, code = payload["cheque"], _plain(payload.get("code"))
        if not code:
            raise Refused("code-missing")
        if self.numbers.get(code, number) != number:
            raise Refused("code-already-known")
        if number in self.cheques:
            self._take_again(self.cheques[number], payload["contract"])
            return
        cheque = Cheque(number, payload["contract"], payload["amount_cents"], _now())
        self.cheques[number], self.numbers[code] = cheque, number
        self._order.append(cheque)

    def _take_again(self, cheque: Cheque, contract: str) -> None:
        """A cheque that was given up comes back, under the contract that it is registered under now."""
        if cheque.cancelled and not cheque.redemption:
            cheque.contract, cheque.cancelled, cheque.blocked, cheque.changed_at = contract, False, False, _now()

    def _activate(self, payload: Mapping[str, Any]) -> None:
        self._find(payload)  # a registered cheque is active

    def _declare(self, payload: Mapping[str, Any]) -> None:
        cheque = self._find(payload)
        if payload["structure"] not in self.structures:
            raise Refused("unknown-structure")
        if cheque.redemption:
            raise Refused("already-redeemed")
        if cheque.cancelled:
            raise Refused("cancelled")
        if payload["amount_cents"] != cheque.value_cents:
            raise Refused("amount-differs")
        self._spend(cheque, payload["reference"], payload["structure"])

    def _reverse(self, payload: Mapping[str, Any]) -> None:
        cheque = self._find(payload)
        if cheque.redemption != payload["redemption"]:
            raise Refused("unknown-redemption")
        if cheque.payment:
            raise Refused("already-paid")
        cheque.redemption, cheque.structure, cheque.changed_at = None, None, _now()

    def _cancel(self, payload: Mapping[str, Any]) -> None:
        cheque = self._find(payload)
        if cheque.redemption:
            raise Refused("already-redeemed")
        cheque.cancelled, cheque.changed_at = True, _now()

    def _block(self, payload: Mapping[str, Any], blocked: bool) -> None:
        cheque = self._find(payload)
        cheque.blocked, cheque.changed_at = blocked, _now()

    def _affiliate(self, payload: Mapping[str, Any], active: bool) -> None:
        self.structures[payload["structure"]] = active

    def _find(self, payload: Mapping[str, Any]) -> Cheque:
        try:
            return self.cheques[payload["cheque"]]
        except KeyError:
            raise Refused("unknown-cheque") from None

    def _spend(self, cheque: Cheque, redemption: str, structure: str) -> None:
        cheque.redemption, cheque.structure, cheque.changed_at = redemption, structure, _now()

    def _note(self, contract: str, line: Line) -> None:
        self._journal.append((_now(), contract, line))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _plain(code: str | None) -> str:
    """A code without the separators with which it is printed."""
    return (code or "").upper().replace("-", "").replace(" ", "")
