"""A bot with stolen tokens and many addresses against a redeemer that listens: it gets nothing, and is seen."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
import requests

from demo.stack.embedded import free_port
from services.redeemer import create_app
from shared.values import cheque_code
from shared.values.cheque_code import ALPHABET
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.redeemer.conftest import Cheque, Till
from tests.serving import served

THREADS = 6
STOLEN, ADDRESSES = 5, 12
MANY = 10**9


def neighbours(known: str, chance: random.Random) -> Iterator[str]:
    """Codes as whoever has seen a cheque would guess: its beginning, another end, and the check character that fits."""
    while True:
        kept = chance.choice((4, 8, 12, 14))
        payload = known[:kept] + "".join(chance.choices(ALPHABET, k=16 - kept))
        likely = (payload + last for last in ALPHABET)
        yield from (code for code in likely if cheque_code.mask(code) != code and code != known)


@dataclass
class Bot:
    """Tries codes with stolen tokens, each request from another address."""

    address: str
    tokens: list[str]
    seen: str
    """A code that it once saw, of a cheque that is spent."""
    chance: random.Random
    tried: Counter[str] = field(default_factory=Counter)
    """Codes, by what became of the request."""
    found: list[Any] = field(default_factory=list)

    def run(self, requests_made: int) -> None:
        """Makes so many requests, several at a time."""
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(self._try, [self.chance.random() for _ in range(requests_made)]))

    def _try(self, seed: float) -> None:
        chance = random.Random(seed)
        likely = neighbours(self.seen, chance)
        codes = [next(likely) if chance.random() < 0.5 else cheque_code.generate() for _ in range(chance.randint(1, 5))]
        headers = {
            "Authorization": f"Bearer {chance.choice(self.tokens)}",
            "Idempotency-Key": str(new_id()),
            "X-Forwarded-For": f"{chance.randrange(256)}.0.0.1, 192.0.2.{chance.randrange(ADDRESSES)}",
        }
        if chance.random() < 0.3:
            codes = codes[:1]
            answer = requests.post(f"{self.address}/v1/checks", json={"code": codes[0]}, headers=headers, timeout=30)
            lucky = answer.ok and answer.json()["value_cents"] is not None
        else:
            answer = requests.post(f"{self.address}/v1/redemptions", json={"codes": codes}, headers=headers, timeout=30)
            reasons = {refusal["reason"] for refusal in answer.json().get("refusals", [])}
            lucky = answer.ok or bool(reasons - {"unknown-code"})
        self.tried["locked out" if answer.status_code == 429 else "judged"] += len(codes)
        if lucky:
            self.found.append(answer.json())


@dataclass
class Street:
    """A redeemer that listens behind a proxy, with an honest till, and cheques in people's pockets."""

    till: Till
    address: str
    cheques: list[Cheque]
    spent: Cheque
    thieves: list[UUID]

    def bot(self) -> Bot:
        tokens = [self.till.redeemer.token("structure", thief) for thief in self.thieves]
        return Bot(self.address, tokens, self.spent.code, random.Random(47))

    def honest(self, cheque: Cheque) -> requests.Response:
        """A cheque presented at the honest till."""
        headers = self.till.redeemer.headers("structure", self.till.structure, key=str(new_id()))
        body = {"codes": [cheque.code]}
        headers["X-Forwarded-For"] = "198.51.100.1"
        return requests.post(f"{self.address}/v1/redemptions", json=body, headers=headers, timeout=30)


@pytest.fixture
def street(till: Till) -> Iterator[Callable[..., Street]]:
    """Opens the redeemer with these settings."""
    given, address = till.redeemer, f"http://127.0.0.1:{free_port()}"
    thieves = [till.affiliated(f"thief{number}") for number in range(STOLEN)]
    *cheques, spent = till.issue(60)
    till.present([spent.code])
    # So many that one of the stolen tokens is locked out before everybody is, however they share the guesses.
    settings = replace(given.settings, trusted_proxies=1, guesses_in_all=STOLEN * 19)
    lifted = replace(settings, guesses_per_structure=MANY, guesses_per_address=MANY, guesses_in_all=MANY)
    apps = {False: create_app(settings), True: create_app(lifted)}

    def at(*, unlimited: bool = False) -> Street:
        door = Till(ServiceUnderTest(apps[unlimited], settings, given.signer, given.environ))
        door.contract, door.structure = till.contract, till.structure
        stack.enter_context(served(apps[unlimited], address))
        return Street(door, address, cheques, spent, thieves)

    with ExitStack() as stack:
        yield at


@pytest.mark.slow
def test_a_bot_gets_nothing_is_locked_out_and_is_seen(
    street: Callable[..., Street], caplog: pytest.LogCaptureFixture
) -> None:
    here = street()
    bot = here.bot()
    bot.run(150)
    first = bot.tried["judged"]
    assert here.honest(here.cheques[0]).status_code == 201
    bot.run(150)

    assert bot.found == []
    # Five tokens of twenty guesses each, and the requests that were in hand as a limit was reached.
    assert first <= STOLEN * 20 + THREADS * 5
    assert bot.tried["judged"] - first <= 5
    assert bot.tried["locked out"] > 5 * bot.tried["judged"]
    states = here.till.rows("SELECT state, count(*) FROM cheque GROUP BY state ORDER BY state")
    assert [tuple(row) for row in states] == [("redeemed", 2), ("spendable", 58)]

    told = here.till.told("codes.guessed")
    assert {event["scope"] for event in told} >= {"structure", "everybody"}
    assert {event["structure_id"] for event in told} <= set(here.thieves)
    assert caplog.text.count("codes_guessed") == len(told)
    assert "192.0.2." in caplog.text
    metrics = here.till.get("/metrics", "operations").text
    assert float(re.findall(r"^souche_guesses\{.*\} (.*)$", metrics, re.MULTILINE)[0]) >= first
    assert re.search(r'^souche_locked_out\{.*scope="structure".*\} [1-9]', metrics, re.MULTILINE)
    assert not any(cheque.code in caplog.text for cheque in [*here.cheques, here.spent])


@pytest.mark.slow
def test_without_limits_the_same_bot_has_every_guess_judged_and_still_gets_nothing(
    street: Callable[..., Street],
) -> None:
    bot = street(unlimited=True).bot()
    bot.run(300)
    assert bot.tried["locked out"] == 0
    assert bot.tried["judged"] > 600
    assert bot.found == []
