"""The three services beside a simulated operator, what people do there, and how all of it comes to rest."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from click.testing import CliRunner, Result

from demo.simulators import docaposte
from demo.simulators.docaposte import Simulator
from demo.simulators.docaposte_register import Cheque, Refused
from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.contracts import lifecycle
from services.operator_bridge.inbound import statement_polling, webhook_inbox
from services.operator_bridge.orders import queue, sending
from services.operator_bridge.register.models import MAX_UNANSWERED
from shared.eventlog.event_kinds import READERS
from shared.problems import Unavailable
from shared.process.runtime import Runtime
from shared.settings.settings import SERVICES
from souche.commands.verify import verify
from tests.journey.conftest import World

_ROUNDS = 25
_PATIENCE_SECONDS = 15.0
_STATUS = {"open": "registered", "cancelled": "cancelled", "expired": "cancelled", "redeemed": "redeemed"}


@dataclass
class Town(World):
    """A world whose operator is the simulated one, reached over HTTP, and whose messages come over HTTP."""

    operator: str = docaposte.CODE
    simulator: Simulator = field(kw_only=True)
    cheques: list[dict[str, Any]] = field(default_factory=list)
    redemptions: list[str] = field(default_factory=list)

    @property
    def runtime(self) -> Runtime:
        return self.services["operator_bridge"].runtime

    def issue(self, _index: int = 0) -> None:
        """A prescriber grants five cheques."""
        self.cheques += self.grant()["cheques"]

    def redeem(self, index: int) -> None:
        """Somebody presents one of the cheques at our till."""
        answer = self.present(self._cheque(index)["code"])
        if answer.status_code == 201:
            self.redemptions += [redemption["redemption_id"] for redemption in answer.get_json()["redemptions"]]

    def redeem_there(self, index: int) -> None:
        """Somebody presents one of the cheques at the operator's till."""
        with suppress(KeyError, Refused):
            self.simulator.redeem_at_till(str(self.structure), self._cheque(index)["code"])

    def reverse(self, index: int) -> None:
        """The structure takes one of the redemptions back."""
        if self.redemptions:
            path = f"/v1/redemptions/{self.redemptions[index % len(self.redemptions)]}/reversal"
            self.call("redeemer", "POST", path, "structure", {"reason": "by mistake"}, scope=self.structure)

    def cancel(self, index: int) -> None:
        """The prescriber cancels one of the cheques."""
        self._say("/v1/cancellations", index)

    def block(self, index: int) -> None:
        """The prescriber blocks one of the cheques."""
        self._say("/v1/blocks", index)

    def unblock(self, index: int) -> None:
        """The prescriber releases one of the cheques."""
        self._say("/v1/unblocks", index)

    def pay(self, _index: int = 0) -> None:
        """The operator pays what it knows to be redeemed."""
        self.simulator.pay()

    def carry(self, _index: int = 0) -> int:
        """Each service reads the news of the others, once."""
        return sum(self._carry(publisher, reader) for publisher in SERVICES for reader in READERS[publisher])

    def push(self, _index: int = 0) -> None:
        """Sends what is due, now."""
        self.execute("UPDATE contract SET next_push_at = clock_timestamp()")
        self.execute("UPDATE operator_order SET next_attempt_at = clock_timestamp() WHERE state = 'pending'")
        sending.push(self.runtime, self.contract, 0.2)

    def hear(self, _index: int = 0) -> None:
        """Applies the messages that came."""
        webhook_inbox.apply_waiting(self.runtime)

    def read_statement(self, _index: int = 0) -> bool:
        """Reads the statement; whether it could be had."""
        try:
            statement_polling.poll(self.runtime, self.contract)
        except Unavailable:
            return False
        return True

    def stop(self, _index: int = 0) -> None:
        """Operations stop sending to the operator."""
        self.ask("operator_bridge", "POST", f"/v1/contracts/{self.contract}/hold", "admin", {"reason": "a pause"})

    def go_on(self, _index: int = 0) -> None:
        """Operations end the stop."""
        self.ask("operator_bridge", "POST", f"/v1/contracts/{self.contract}/release", "admin")

    def restart(self, index: int) -> None:
        """A worker is killed between claiming and settling, every other time after the operator did it all.

        The broker is emptied.
        """
        with self.runtime.transaction() as session:
            claimed = queue.claim(session, self.contract, 3, lease=index)
        if index % 2 and claimed:
            codes = {cheque["cheque_id"]: cheque["code"] for cheque in self.cheques}
            orders = [dataclasses.replace(order, code=codes.get(str(order.cheque_id))) for order in claimed]
            with suppress(interface.OperatorUnavailable, interface.NoAnswer, interface.Unreadable):
                list(lookup.connect(self.operator, self.runtime.settings.operators).push(orders))
        self.runtime.redis.flushall()

    def come_to_rest(self, *, clear: bool = True) -> None:
        """Ends all faults, unless `clear` is false, and lets everybody work as all day until nothing moves."""
        if clear:
            self.simulator.faults.clear()
        self.go_on()
        for _ in range(_ROUNDS):
            if not self._go_round():
                return
        raise AssertionError(f"it does not come to rest: {self.rows('SELECT * FROM operator_order')}")

    def _go_round(self) -> bool:
        moved = self.carry()
        self._wait(lambda: self.simulator.webhooks.waiting == 0)
        moved += webhook_inbox.apply_waiting(self.runtime)
        # Long after: a worker that has not settled what it sent is dead, and what was done is on the statement.
        self.execute("UPDATE operator_order SET sent_at = sent_at - interval '10 minutes' WHERE sent_at IS NOT NULL")
        with self.runtime.transaction() as session:
            queue.sweep(session)
            lifecycle.hold_new(session)
        heard = self.read_statement()
        self.push()
        return bool(moved or self.carry() or self.unfinished() or not heard)

    def _wait(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not happened():
            assert time.monotonic() < deadline, "it does not happen"
            time.sleep(0.02)

    def unfinished(self) -> Sequence[Any]:
        """The orders that are not settled."""
        return self.rows("SELECT order_id, kind, state FROM operator_order WHERE state NOT IN ('accepted', 'refused')")

    def execute(self, statement: str, **params: Any) -> None:
        with self.runtime.transaction() as session:
            session.execute(sa.text(statement), params)

    def rows(self, statement: str, **params: Any) -> list[Any]:
        with self.runtime.transaction() as session:
            return list(session.execute(sa.text(statement), params))

    def assert_agreement(self) -> None:
        """Our register and the operator's say the same of each cheque, but for those that wait for a person.

        Nothing was registered, declared or told of twice, and it balances across all three services.
        """
        disputed = {row.cheque_id for row in self.rows("SELECT cheque_id FROM discrepancy")}
        ours = {row.cheque_id: row for row in self.rows(_OURS, contract=self.contract)}
        theirs = {UUID(number): cheque for number, cheque in self.simulator.register.cheques.items()}
        assert set(theirs) == {cheque_id for cheque_id, row in ours.items() if row.link in ("registered", "closed")}
        for cheque_id in set(theirs) - disputed:
            _compare(ours[cheque_id], theirs[cheque_id])
        assert len(self.simulator.register.numbers) == len(theirs)
        counts = Counter(row[0] for row in self.rows(_TOLD))
        assert set(counts.values()) <= {1}
        assert (
            self.rows("SELECT 1 FROM operator_order WHERE lost >= :most AND settled_at IS NULL", most=MAX_UNANSWERED)
            == []
        )
        balanced = self.verify()
        assert balanced.exit_code == 0, balanced.output

    def verify(self) -> Result:
        """What `souche verify` says."""
        return CliRunner(env=dict(self.services["issuer"].environ)).invoke(verify, ["--wait", "5"])

    def _cheque(self, index: int) -> dict[str, Any]:
        return self.cheques[index % len(self.cheques)]

    def _say(self, path: str, index: int) -> None:
        body = {"cheque_ids": [self._cheque(index)["cheque_id"]], "reason": "lost"}
        self.call("issuer", "POST", path, "prescriber", body, scope=self.prescriber)


_OURS = """
    SELECT link.cheque_id, link.state AS link, cheque.state, cheque.blocked, cheque.value_cents,
           redemption.state AS redemption, redemption.reference
    FROM link JOIN cheque USING (cheque_id)
    LEFT JOIN redemption ON redemption.cheque_id = link.cheque_id AND redemption.state <> 'reversed'
    WHERE link.contract_id = :contract
"""
_TOLD = """
    SELECT jsonb_array_elements_text(CASE kind WHEN 'redemptions.paid' THEN body->'redemption_ids'
                                     ELSE body->'cheque_ids' END)
    FROM event WHERE kind IN ('cheques.registered', 'redemptions.paid')
"""


def _compare(ours: Any, theirs: Cheque) -> None:
    expected = "blocked" if ours.state == "open" and ours.blocked else _STATUS[ours.state]
    assert (theirs.status, theirs.value_cents) == (expected, ours.value_cents)
    if ours.state == "redeemed":
        assert theirs.redemption == ours.reference
        assert ours.redemption == ("paid" if theirs.payment else "confirmed")
    else:
        assert (theirs.redemption, ours.redemption) == (None, None)
