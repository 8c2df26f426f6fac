"""Law 7 within the redeemer: whatever happens, twice or out of turn, every cheque and every cent is in one state."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.redeemer.cheques import expiring
from services.redeemer.transitions import CHEQUE
from shared.values.ids import new_id
from tests.chance import examples
from tests.redeemer.conftest import ANYTHING, PROGRAMME, Cheque, Till, day

STEPS = ("issue", "issue_waiting", "present", "reverse", "cancel", "block", "unblock", "register", "report", "expire")


class History:
    """Random things that befall cheques; news of others come once or twice."""

    def __init__(self, till: Till, seed: int) -> None:
        self.till = till
        self.chance = random.Random(seed)
        self.cheques: list[Cheque] = []
        self.states: dict[Any, str] = {}

    def step(self, name: str) -> None:
        getattr(self, name)()
        self.check_transitions()

    def some(self) -> list[Cheque]:
        return self.chance.sample(self.cheques, min(len(self.cheques), self.chance.randint(1, 4)))

    def tell(self, kind: str, body: Any) -> None:
        self.till.tell(kind, body, times=self.chance.choice((1, 2)))

    def issue(self, spendable: str = "on_issue") -> None:
        last = day(self.chance.choice((-1, 0, 10)))
        made, body = self.till.granted(
            self.chance.randint(1, 4), {**ANYTHING, "spendable": spendable}, valid_until=last, presentable_until=last
        )
        self.tell("cheques.issued", body)
        self.cheques += made

    def issue_waiting(self) -> None:
        self.issue("on_registration")

    def present(self) -> None:
        codes = [cheque.code for cheque in self.some()]
        key = str(new_id())
        if codes:
            for _ in range(self.chance.choice((1, 2))):
                self.till.present(codes, key=key)

    def reverse(self) -> None:
        for row in self.till.rows("SELECT id FROM redemption ORDER BY id")[-1:]:
            self.till.reverse(row.id)

    def cancel(self) -> None:
        ids = [cheque.id for cheque in self.some()]
        self.tell("cancellation.requested", {"cancellation_id": new_id(), "cheque_ids": ids, "reason": "returned"})

    def block(self) -> None:
        self.tell("cheques.blocked", {"cheque_ids": [cheque.id for cheque in self.some()], "reason": "lost"})

    def unblock(self) -> None:
        self.tell("cheques.unblocked", {"cheque_ids": [cheque.id for cheque in self.some()], "reason": "found"})

    def register(self) -> None:
        ids = [cheque.id for cheque in self.some()]
        self.tell("cheques.registered", {"contract_id": self.till.contract, "cheque_ids": ids})

    def report(self) -> None:
        for cheque in self.some():
            self.tell("redemption.reported", self.till.reported(cheque))

    def expire(self) -> None:
        expiring.expire(self.till.redeemer.runtime)

    def check_transitions(self) -> None:
        """Nothing went where the table does not lead."""
        now = {row.id: row.state for row in self.till.rows("SELECT id, state FROM cheque")}
        for cheque_id, state in now.items():
            before = self.states.get(cheque_id, state)
            assert state == before or state in CHEQUE[before], (before, state)
        self.states = now

    def check_balance(self) -> None:
        """Issued is the sum of the states; what is redeemed has one live redemption; what was told adds up to it."""
        balance = self.till.get("/v1/balances").get_json()["programmes"]
        number = len(self.cheques)
        if not number:
            assert balance == []
            return
        [programme] = balance
        assert programme["programme"] == PROGRAMME
        assert programme["issued"] == {"number": number, "cents": number * 1000}
        states, redemptions = programme["states"], programme["redemptions"]
        for unit in ("number", "cents"):
            assert sum(states[state][unit] for state in CHEQUE) == programme["issued"][unit]
            live = sum(value[unit] for state, value in redemptions.items() if state != "reversed")
            assert live == states["redeemed"][unit]
        assert {state: value["number"] for state, value in states.items() if value["number"]} == self.replayed()

    def replayed(self) -> Counter[str]:
        """The number in each state by what was told, with what only the others know taken from the rows."""
        ends: dict[Any, str | None] = {}
        for kind, told in self.log():
            if kind == "cheques.redeemed":
                ends |= {line["cheque_id"]: "redeemed" for line in told["redemptions"]}
            elif kind == "redemption.reversed":
                ends[told["cheque_id"]] = None
            else:
                ends |= dict.fromkeys(told["cheque_ids"], kind.removeprefix("cheques."))
        return Counter(ends.get(cheque_id) or state for cheque_id, state in self.states.items())

    def log(self) -> list[tuple[str, dict[str, Any]]]:
        kinds = ("cheques.redeemed", "redemption.reversed", "cheques.cancelled", "cheques.expired")
        query = "SELECT kind FROM event WHERE kind = ANY(:kinds) ORDER BY sequence"
        return list(
            zip((row.kind for row in self.till.rows(query, kinds=list(kinds))), self.till.told(*kinds), strict=True)
        )


@pytest.mark.slow
@examples(40)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=30), seed=st.integers(0, 2**32))
def test_every_cheque_and_every_cent_is_in_one_state_after_any_history(
    till: Till, owner: Any, steps: list[str], seed: int
) -> None:
    with owner.begin() as connection:
        connection.exec_driver_sql("SET LOCAL search_path = redeemer")
        connection.exec_driver_sql("TRUNCATE redemption, presentation, cheque, event, parked_event CASCADE")
    history = History(till, seed)
    for name in steps:
        if history.cheques or name.startswith("issue"):
            history.step(name)
    history.check_balance()
