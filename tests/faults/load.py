"""A bounded load through the real services, and its own record of what each was answered.

The record is the clients': what was answered 201, what was refused, what got no answer. Nothing in it comes from the
services' tables, so that it can be held against them.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import requests

from demo.calls import Identity
from demo.year import Year

CLIENTS = 6
REST_SECONDS = 0.06
TIMEOUT = (2.0, 15.0)
RETRIES = 3
RETRY_SECONDS = 0.4
# What says that nothing was decided: a server error, or a request with the same key still in hand.
UNDECIDED = {500, 502, 503, 504}
IN_HAND = "urn:souche:request-in-hand"

Outcome = Literal["done", "refused", "unanswered"]


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
    """What the clients know."""

    entries: list[Entry] = field(default_factory=list)
    successes: dict[str, list[float]] = field(default_factory=lambda: {"issuer": [], "redeemer": []})
    """When each service answered, in seconds of the monotonic clock."""
    requests: int = 0
    wrong: list[str] = field(default_factory=list)
    """Answers that can never be right, whatever happened."""

    def of(self, kind: str, outcome: Outcome | None = None) -> list[Entry]:
        """The entries of a kind."""
        return [each for each in self.entries if each.kind == kind and outcome in (None, each.outcome)]


@dataclass
class Held:
    """A cheque in a client's hand."""

    code: str = field(repr=False)
    cheque_id: str
    doubtful: bool = False
    """It was presented, or its cancellation asked for, and no answer came."""


class Load:
    """Clients that grant, redeem, present again, reverse and cancel, until somebody says stop."""

    def __init__(self, year: Year, seed: int) -> None:
        self.record = Record()
        self._year = year
        self._seed = seed
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._held: deque[Held] = deque()
        self._spent: list[tuple[Held, str, Identity]] = []

    @contextmanager
    def flowing(self) -> Iterator[Record]:
        """Has the clients work for the length of the block; each ends what it has in hand."""
        clients = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield self.record
        finally:
            self._stopping.set()
            for client in clients:
                client.join(RETRIES * (TIMEOUT[1] + RETRY_SECONDS) + 5)

    def _work(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        session = requests.Session()
        session.trust_env = False
        acts = (self._grant, self._redeem, self._present_again, self._reverse, self._cancel)
        while not self._stopping.wait(REST_SECONDS):
            [act] = chance.choices(acts, weights=(3, 8, 1, 1, 1))
            act(session, chance)

    def _grant(self, session: requests.Session, chance: random.Random) -> None:
        key, adviser = str(uuid4()), chance.choice(self._year.advisers)
        body = {
            "programme": self._year.world.programme["code"],
            "amount_cents": 5000,
            "reason": "évaluation",
            "reference": key,
        }
        entry = self._ask(session, "grant", "issuer", "/v1/grants", adviser, body, key)
        if entry.outcome == "done":
            held = [Held(cheque["code"], cheque["cheque_id"]) for cheque in entry.answer["cheques"]]
            with self._lock:
                self._held.extend(held)

    def _redeem(self, session: requests.Session, chance: random.Random) -> None:
        with self._lock:
            if len(self._held) < 10:
                return
            cheques = [self._held.popleft() for _ in range(chance.randint(1, 3))]
        till = chance.choice(self._year.structures)
        entry = self._present(session, till, cheques)
        if entry.outcome == "done":
            made = {each["cheque_id"]: each["redemption_id"] for each in entry.answer["redemptions"]}
            with self._lock:
                self._spent += [(held, made[held.cheque_id], till) for held in cheques]
            return
        self._check_refusals(entry, cheques)
        for held in cheques:
            held.doubtful |= entry.outcome == "unanswered"
        with self._lock:
            self._held.extend(held for held in cheques if not held.doubtful)

    def _present(self, session: requests.Session, till: Identity, cheques: list[Held]) -> Entry:
        codes = tuple(held.code for held in cheques)
        body = {"codes": list(codes)}
        return self._ask(session, "redeem", "redeemer", "/v1/redemptions", till, body, str(uuid4()), codes=codes)

    def _check_refusals(self, entry: Entry, cheques: list[Held]) -> None:
        """A cheque that only this client ever held cannot have been redeemed already."""
        for refusal in entry.answer.get("refusals", ()) if entry.outcome == "refused" else ():
            held = cheques[refusal["index"]]
            if refusal["reason"] not in ("not-yet-spendable", "unknown-code"):
                held.doubtful = True
                self.record.wrong.append(f"{held.cheque_id} was never presented, and refused as {refusal['reason']}")

    def _present_again(self, session: requests.Session, chance: random.Random) -> None:
        """Somebody tries a cheque that was spent; it must never be taken."""
        with self._lock:
            if not self._spent:
                return
            at = chance.randrange(len(self._spent))
            held, redemption, till = self._spent.pop(at)
        entry = self._present(session, till, [held])
        if entry.outcome == "done":
            self.record.wrong.append(f"{held.cheque_id} was redeemed twice: {redemption} and {entry.answer}")
        with self._lock:
            self._spent.append((held, redemption, till))

    def _reverse(self, session: requests.Session, chance: random.Random) -> None:
        with self._lock:
            if not self._spent:
                return
            _, redemption, till = self._spent.pop(chance.randrange(len(self._spent)))
        path = f"/v1/redemptions/{redemption}/reversal"
        self._ask(session, "reverse", "redeemer", path, till, {"reason": "erreur"}, str(uuid4()), subject=redemption)

    def _cancel(self, session: requests.Session, chance: random.Random) -> None:
        with self._lock:
            if len(self._held) < 20:
                return
            held = self._held.popleft()
        body = {"cheque_ids": [held.cheque_id], "reason": "perdu"}
        admin = Identity("admin", subject="equipe-inclusion")
        self._ask(session, "cancel", "issuer", "/v1/cancellations", admin, body, str(uuid4()), subject=held.cheque_id)

    def _ask(
        self,
        session: requests.Session,
        kind: str,
        service: str,
        path: str,
        who: Identity,
        body: dict[str, Any],
        key: str,
        *,
        codes: tuple[str, ...] = (),
        subject: str = "",
    ) -> Entry:
        """Asks, and again with the same key while no answer comes, as a till does; writes down what came of it."""
        entry = Entry(kind, key, "unanswered", {}, codes, subject)
        for attempt in range(RETRIES):
            if attempt:
                time.sleep(RETRY_SECONDS * 2**attempt)
            if self._settles(entry, session, service, path, who, body):
                break
        with self._lock:
            self.record.entries.append(entry)
        return entry

    def _settles(
        self, entry: Entry, session: requests.Session, service: str, path: str, who: Identity, body: dict[str, Any]
    ) -> bool:
        headers = {"Authorization": f"Bearer {self._year.calls.token(who)}", "Idempotency-Key": entry.key}
        address = self._year.calls.addresses[service] + path
        with self._lock:
            self.record.requests += 1
        try:
            answer = session.post(address, json=body, headers=headers, timeout=TIMEOUT)
            told = answer.json()
        except (requests.RequestException, ValueError):
            return False
        if answer.status_code in UNDECIDED or told.get("type") == IN_HAND:
            if answer.status_code == 500:
                self.record.wrong.append(f"{service} {path} answered 500")
            return False
        with self._lock:
            self.record.successes[service].append(time.monotonic())
        entry.answer = told
        entry.outcome = "done" if answer.ok else "refused"
        return True
