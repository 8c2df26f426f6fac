"""The books as a clerk with pen and paper would keep them: what random histories are held against.

It shares nothing with the product but words. Each party knows what it was told and when: the redeemer judges cheques,
the issuer hears of it later, and books it on the day on which it does.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any

MEASURES = {
    "granted": {"engaged": 1},
    "engaged": {"engaged": 1, "cancelled": -1, "expired": -1},
    "used": {"used": 1, "unused": -1},
    "expired": {"expired": 1},
    "cancelled": {"cancelled": 1},
    "paid": {"paid": 1},
}


@dataclass
class Envelope:
    """Money under a convention, with every amount that it had since which day."""

    id: str
    convention: str
    amount: int
    priority: int
    share: int | None
    publics: Collection[str]
    kept_for: Collection[str]
    kept_bp: int
    engaged: int = 0
    engaged_kept: int = 0
    closed: bool = False
    amounts: list[tuple[date, int, bool]] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """What only some publics may take of it, taken or not."""
        return 0 if self.closed else -(-self.amount * self.kept_bp // 10_000)

    def free(self, public: str | None) -> int:
        """What a grant for a public may take."""
        kept = 0 if public in self.kept_for else max(0, self.kept - self.engaged_kept)
        return self.amount - self.engaged - kept

    def take(self, public: str | None, cents: int) -> None:
        """Engages money, or gives it back where the cents are negative."""
        self.engaged += cents
        self.engaged_kept += cents if public in self.kept_for else 0

    def may_hold(self, amount: int) -> bool:
        """Whether it can be lowered to an amount."""
        kept = -(-amount * self.kept_bp // 10_000)
        return amount >= self.engaged and amount - kept >= self.engaged - self.engaged_kept

    def set(self, day: date, amount: int, *, closed: bool = False) -> None:
        """Gives it another amount from a day on."""
        self.amount, self.closed = amount, closed
        self.amounts.append((day, amount, closed))

    def as_of(self, day: date) -> tuple[int, bool] | None:
        """Its amount at the end of a day and whether it was closed; None before there was one."""
        held = [(amount, closed) for since, amount, closed in self.amounts if since <= day]
        return held[-1] if held else None


@dataclass
class Cheque:
    """A cheque: what it is, what the issuer believes of it, and how it stands at the redeemer."""

    id: str
    code: str
    grant: str
    envelope: Envelope
    cents: int
    public: str | None
    kind: str
    lot: str | None
    granted_on: date
    valid_until: date
    last_day: date
    ending: str | None = None
    blocked: bool = False
    suspended: bool = False
    replaced: bool = False
    known: bool = False
    judged: str | None = None
    barred: bool = False

    def takes(self, today: date, given_on: date) -> bool:
        """Whether the redeemer takes it today for a workshop of a day."""
        able = self.known and self.judged is None and not self.barred
        return able and today <= self.last_day and self.granted_on <= given_on <= self.valid_until

    @property
    def state(self) -> str:
        """As the issuer says it."""
        return self.ending or ("blocked" if self.blocked else "spendable")


@dataclass
class Redemption:
    """A cheque that was presented: where it stands, what is owed, stated and paid."""

    id: str
    cheque: Cheque
    structure: str
    day: date
    reversed: bool = False
    statement: str | None = None
    owed: int = 0
    stated: int = 0
    paid: tuple[str, str] | None = None
    """By `typed` or `operator`, and the reference."""
    again: set[str] = field(default_factory=set)
    booked: bool = False
    """The issuer knows that it was made; `paid_on`, that it was paid."""
    paid_on: date | None = None


@dataclass(frozen=True)
class Entry:
    """What became known of one cheque on a day."""

    booked_on: date
    occurred_on: date
    kind: str
    cheque: Cheque


@dataclass
class Request:
    """A cancellation that was asked for; `fresh` where the cheques are to be replaced. Outcomes by cheque."""

    id: str
    fresh: bool
    outcomes: dict[str, str] = field(default_factory=dict)


class Books:
    """Everything that is written down."""

    def __init__(self) -> None:
        self.envelopes: dict[str, Envelope] = {}
        self.cheques: dict[str, Cheque] = {}
        self.redemptions: dict[str, Redemption] = {}
        self.requests: dict[str, Request] = {}
        self.entries: list[Entry] = []
        self.on_the_way: defaultdict[tuple[str, str], list[tuple[str, Any]]] = defaultdict(list)

    def charge(self, public: str | None, values: Iterable[int]) -> list[str] | None:
        """The envelope of each cheque of a grant, by the rule; None where there is not the money."""
        funds = [envelope for envelope in self.envelopes.values() if not envelope.closed]
        funds = [envelope for envelope in funds if not envelope.publics or public in envelope.publics]
        payers: list[Envelope] = []
        for cents in values:
            able = [envelope for envelope in funds if envelope.free(public) >= cents]
            if not able:
                for payer in payers:
                    payer.take(public, -cents)
                return None
            payers.append(min(able, key=lambda envelope: _rank(envelope, cents)))
            payers[-1].take(public, cents)
        return [payer.id for payer in payers]

    def book(self, kind: str, cheque: Cheque, today: date, day: date) -> None:
        """Writes down what became known of a cheque today."""
        self.entries.append(Entry(today, day, kind, cheque))

    def end(self, cheque: Cheque, ending: str, today: date, day: date) -> None:
        """The issuer hears that a cheque is over: its money goes back."""
        if cheque.ending is None:
            cheque.ending = ending
            cheque.envelope.take(cheque.public, -cheque.cents)
            self.book(ending, cheque, today, day)

    def lines(self, as_of: date) -> dict[tuple[Any, ...], Counter[str]]:
        """Number and cents of each measure by envelope, public, kind of prescriber and month."""
        found: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
        for entry in self.entries:
            if entry.booked_on > as_of:
                continue
            cheque = entry.cheque
            sums = found[cheque.envelope.id, cheque.public, cheque.kind, f"{entry.occurred_on:%Y-%m}"]
            for measure, kinds in MEASURES.items():
                if sign := kinds.get(entry.kind):
                    sums[f"{measure}_number"] += sign
                    sums[f"{measure}_cents"] += sign * cheque.cents
        return dict(found)

    def lot(self, code: str) -> Counter[str]:
        """What the cheques of a lot come to."""
        total: Counter[str] = Counter()
        for cheque in self.cheques.values():
            if cheque.lot != code:
                continue
            ended = {"redeemed": "used", "spendable": "open"}.get(cheque.state, cheque.state)
            for column in ["issued", ended, *(["replaced"] if cheque.replaced else [])]:
                total[f"{column}_number"] += 1
                total[f"{column}_cents"] += cheque.cents
        return total

    def in_hand(self) -> set[str]:
        """The cheques of which a cancellation is asked for and not answered."""
        asked = (request.outcomes.items() for request in self.requests.values())
        return {cheque_id for outcomes in asked for cheque_id, outcome in outcomes if outcome == "requested"}

    def due(self, month: date) -> dict[str, list[tuple[str, int, bool]]]:
        """What a month's statements have to say, by structure: redemptions, and differences to earlier ones."""
        found: defaultdict[str, list[tuple[str, int, bool]]] = defaultdict(list)
        for line in self.redemptions.values():
            if line.statement is None and not line.reversed and (line.day.year, line.day.month) <= (
                month.year, month.month
            ):  # fmt: skip
                found[line.structure].append((line.id, line.cheque.cents, False))
            elif line.statement is not None and line.owed != line.stated:
                found[line.structure].append((line.id, line.owed - line.stated, True))
        return dict(found)

    def take(self, publisher: str, reader: str) -> Iterator[tuple[str, Any]]:
        """What one service was still to be told by another, which it is now."""
        waiting, self.on_the_way[publisher, reader] = self.on_the_way[publisher, reader], []
        yield from waiting


def _rank(envelope: Envelope, cents: int) -> tuple[int, bool, Fraction, str]:
    if envelope.share is None:
        return envelope.priority, True, Fraction(0), envelope.id
    return envelope.priority, False, Fraction(2 * envelope.engaged + cents, envelope.share), envelope.id
