"""A bounded load through the real services: prescribers, tills, the operator's own till, and somebody who looks on.

Each client works for one service alone, so that a service that is down keeps nobody from the others.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from demo.acts.calls import Identity
from demo.acts.year import OPERATIONS, Year
from tests.faults.asking import RETRY_SECONDS, TIMEOUT, TRIES, Client, Request
from tests.faults.record import CANCELLED, REDEEMED, SPENDABLE, Entry, Outcome, Record

PRESCRIBERS, TILLS = 3, 4
# Cheques that are left in people's hands: with fewer, nobody spends them, or has them cancelled. Tills leave more, or
# the faster they are served the less is left to be cancelled.
KEPT, KEPT_FROM_CANCELLING = 20, 10
# What may well be said of a cheque that nobody spent: a service has not heard of it yet.
NOT_HEARD_OF = {"not-yet-spendable", "unknown-code"}

Act = Callable[[Client], None]


@dataclass(frozen=True)
class Held:
    """A cheque in somebody's hand, and the adviser who handed it over."""

    code: str = field(repr=False)
    cheque_id: str
    adviser: Identity
    came_back: bool = False
    """It was redeemed, and that was taken back: the issuer may not have heard of it yet."""


@dataclass(frozen=True)
class Spent:
    """A cheque that a till took, as what."""

    held: Held
    redemption_id: str
    till: Identity


@dataclass(frozen=True)
class Trade:
    """How many clients do what, how often, with how many seconds in between."""

    clients: int
    rest: float
    acts: Sequence[tuple[Act, int]]


class Load:
    """Clients that work until somebody says stop; a cheque is in one client's hand at a time."""

    def __init__(self, year: Year, operator: str, seed: object) -> None:
        self.record = Record()
        self._year = year
        self._operator = operator
        self._seed = seed
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._held: deque[Held] = deque()
        self._spent: list[Spent] = []

    @contextmanager
    def flowing(self) -> Iterator[Record]:
        """Has the clients work for the length of the block; each ends what it has in hand."""
        clients = [
            threading.Thread(target=self._work, args=(trade, f"{name} {number}"), daemon=True)
            for name, trade in self._trades().items()
            for number in range(trade.clients)
        ]
        self.record.began = time.monotonic()
        for client in clients:
            client.start()
        try:
            yield self.record
        finally:
            self.record.ended = time.monotonic()
            self._stopping.set()
            for client in clients:
                client.join(TRIES * (sum(TIMEOUT) + RETRY_SECONDS * 2**TRIES))

    def _trades(self) -> dict[str, Trade]:
        return {
            "prescriber": Trade(PRESCRIBERS, 0.3, [(self._grant, 5), (self._cancel, 1), (self._replace, 1)]),
            "till": Trade(
                TILLS, 0.06, [(self._redeem, 8), (self._check, 2), (self._present_again, 1), (self._reverse, 1)]
            ),
            "operator's till": Trade(1, 0.3, [(self._spend_at_operator, 1)]),
            "onlooker": Trade(1, 0.2, [(self._look, 1)]),
        }

    def _work(self, trade: Trade, name: str) -> None:
        client = Client(self._year.calls, self.record, f"{self._seed} {name}")
        acts, weights = zip(*trade.acts, strict=True)
        while not self._stopping.wait(trade.rest):
            [act] = client.chance.choices(acts, weights)
            act(client)

    # What prescribers do.

    def _grant(self, client: Client) -> None:
        adviser, reason = client.chance.choice(self._year.advisers), f"entretien {client.next_name()}"
        body = {"programme": self._year.world.programme["code"], "amount_cents": 5000, "reason": reason}
        entry = client.ask(Request("grant", "issuer", "/v1/grants", adviser, body, subject=reason))
        if entry.outcome == "done":
            made = [Held(cheque["code"], cheque["cheque_id"], adviser) for cheque in entry.answer["cheques"]]
            with self.record.lock:
                self.record.cheques |= {held.cheque_id: {SPENDABLE} for held in made}
            self._hand_back(made)

    def _cancel(self, client: Client) -> None:
        self._end(client, "cancel", "/v1/cancellations", {"reason": "perdu"})

    def _replace(self, client: Client) -> None:
        self._end(client, "replace", "/v1/replacements", {"cause": "lost", "reason": "perdu"})

    def _end(self, client: Client, kind: str, path: str, why: dict[str, str]) -> None:
        """Has a cheque that nobody else knows of end: no reason to refuse it, unless it was redeemed before."""
        for held in self._take(1, KEPT_FROM_CANCELLING):
            body = {"cheque_ids": [held.cheque_id], **why}
            entry = client.ask(Request(kind, "issuer", path, held.adviser, body, subject=held.cheque_id))
            self.record.became([held.cheque_id], CANCELLED, entry)
            if entry.outcome == "refused" and not held.came_back:
                self.record.blame(f"{kind} of {held.cheque_id} was refused: {entry.answer}")

    # What tills do.

    def _redeem(self, client: Client) -> None:
        cheques = self._take(client.chance.randint(1, 3), KEPT)
        if not cheques:
            return
        till = client.chance.choice(self._year.structures)
        entry = self._present(client, till, cheques)
        self.record.became((held.cheque_id for held in cheques), REDEEMED, entry)
        if entry.outcome == "done":
            made = {each["cheque_id"]: each["redemption_id"] for each in entry.answer["redemptions"]}
            with self._lock:
                self._spent += [Spent(held, made[held.cheque_id], till) for held in cheques]
        elif entry.outcome == "refused" and self._refused_rightly(entry, cheques):
            self._hand_back(cheques)

    def _present(self, client: Client, till: Identity, cheques: Sequence[Held]) -> Entry:
        codes = tuple(held.code for held in cheques)
        return client.ask(Request("redeem", "redeemer", "/v1/redemptions", till, {"codes": list(codes)}, codes))

    def _refused_rightly(self, entry: Entry, cheques: Sequence[Held]) -> bool:
        """A cheque that only one client ever held cannot have been redeemed already."""
        wrong = [each for each in entry.answer.get("refusals", ()) if each["reason"] not in NOT_HEARD_OF]
        for refusal in wrong:
            self.record.blame(f"{cheques[refusal['index']].cheque_id} is unspent, and refused as {refusal['reason']}")
        return not wrong

    def _check(self, client: Client) -> None:
        """Somebody asks whether a cheque is good, which changes nothing."""
        for held in self._take(1, KEPT):
            till = client.chance.choice(self._year.structures)
            asked = Request("check", "redeemer", "/v1/checks", till, {"code": held.code}, repeatable=False)
            entry = client.ask(asked)
            if entry.outcome == "done" and entry.answer["reason"] not in {None, *NOT_HEARD_OF}:
                self.record.blame(f"{held.cheque_id} is unspent, and said to be {entry.answer['reason']}")
            self._hand_back([held])

    def _present_again(self, client: Client) -> None:
        """Somebody tries a cheque that was spent; it must never be taken."""
        spent = self._take_spent(client)
        if spent is None:
            return
        entry = self._present(client, spent.till, [spent.held])
        if entry.outcome == "done":
            self.record.blame(f"{spent.held.cheque_id} was redeemed twice: {spent.redemption_id} and {entry.answer}")
        with self._lock:
            self._spent.append(spent)

    def _reverse(self, client: Client) -> None:
        """A redemption is taken back, and its cheque is in somebody's hand again."""
        spent = self._take_spent(client)
        if spent is None:
            return
        path, subject = f"/v1/redemptions/{spent.redemption_id}/reversal", spent.redemption_id
        entry = client.ask(
            Request("reverse", "redeemer", path, spent.till, {"reason": "erreur"}, subject=subject, repeatable=False)
        )
        self.record.became([spent.held.cheque_id], SPENDABLE, entry)
        if entry.outcome == "done":
            self._hand_back([replace(spent.held, came_back=True)])
        elif entry.outcome == "refused":
            self.record.blame(f"reversal of {spent.redemption_id} was refused: {entry.answer}")

    def _spend_at_operator(self, client: Client) -> None:
        """A cheque is presented at the operator's own till, once: the operator tells us by webhook."""
        for held in self._take(1, KEPT):
            body = {"code": held.code, "structure": client.chance.choice(self._year.structures).scope}
            answer = client.post_to(f"{self._operator}/till/redemptions", body)
            told: Outcome = "unanswered" if answer is None else "done" if answer.ok else "refused"
            entry = Entry("spend at the operator", held.cheque_id, told, {} if answer is None else answer.json())
            self.record.add(entry)
            self.record.became([held.cheque_id], REDEEMED, entry)
            if answer is not None:
                self.record.served("operator")
            if entry.outcome == "refused":
                self._hand_back([held])

    def _look(self, client: Client) -> None:
        if client.look("operator_bridge", "/v1/contracts", OPERATIONS):
            self.record.served("operator_bridge")

    # The cheques that are about.

    def _take(self, number: int, kept: int) -> list[Held]:
        """So many cheques, unless few are left."""
        with self._lock:
            if len(self._held) < kept + number:
                return []
            return [self._held.popleft() for _ in range(number)]

    def _hand_back(self, cheques: Sequence[Held]) -> None:
        with self._lock:
            self._held.extend(cheques)

    def _take_spent(self, client: Client) -> Spent | None:
        with self._lock:
            if not self._spent:
                return None
            return self._spent.pop(client.chance.randrange(len(self._spent)))
