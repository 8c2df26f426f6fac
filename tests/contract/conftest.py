"""One operator at a time, simulated where there is somebody to simulate, and its messages as they come."""

import importlib
import importlib.util
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

import pytest
from flask import Flask, request
from flask.typing import ResponseReturnValue

from demo.simulators import serving
from demo.simulators.faults import Faults
from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.interface import (
    ChequeStatus,
    NoAnswer,
    NumberedCheque,
    Operator,
    OperatorUnavailable,
    Order,
    Period,
    Receipt,
    Unreadable,
)
from shared.values import cheque_code, clock
from shared.values.ids import new_id
from tests.contract.cases import CASES

CONTRACT = "contract"


class Simulator(Protocol):
    """What the suite asks of a simulator."""

    faults: Faults

    def running(self) -> Any: ...
    def forget(self) -> None: ...
    def redeem_at_till(self, structure: str, code: str | None = None, number: str | None = None) -> Any: ...
    def pay(self, paid_on: date | None = None) -> Any: ...


@runtime_checkable
class TakesItsTime(Protocol):
    """A simulator of an operator that works off later what it is given, and states from time to time what it holds."""

    def work_off(self) -> None: ...
    def state_all(self) -> None: ...


@runtime_checkable
class GivesTokens(Protocol):
    """A simulator of an operator that has to be asked for a token."""

    def expire_tokens(self) -> None: ...


@dataclass
class Case:
    """An operator under test."""

    code: str
    operator: Operator
    settings: Mapping[str, str]
    simulator: Simulator | None
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    structure: UUID = field(default_factory=new_id)
    known: dict[UUID | None, NumberedCheque] = field(default_factory=dict)
    """The cheques to which the operator gave numbers."""

    @property
    def answers_at_once(self) -> bool:
        """Whether what it says to an order comes with the call, and not some time later."""
        return not isinstance(self.simulator, TakesItsTime)

    @property
    def sends_messages(self) -> bool:
        return type(self.operator).verify is not Operator.verify

    @property
    def books(self) -> Simulator:
        """The simulator; skips the test where the operator has none, as there is no outside party."""
        if self.simulator is None:
            pytest.skip("there is nobody on the other side")
        return self.simulator

    def needs(self, able: bool, what: str) -> None:
        """Skips the test where the operator is not able to do something."""
        if not able:
            pytest.skip(f"{self.code} {what}")

    def trouble(self, fault: str, times: int = 1, seconds: float = 0) -> None:
        """Has something go wrong, by its name in `demo.simulators.faults`; skips where it cannot with this operator."""
        self.needs(fault in self.books.faults.names, f"has no {fault}")
        self.books.faults.order(fault, times, seconds)

    def order(self, kind: str, **members: Any) -> Order:
        """An order with a fresh reference."""
        return Order(reference=str(new_id()), kind=kind, contract=CONTRACT, **members)

    def register(self, **members: Any) -> Order:
        """The registration of a new cheque of 10 €."""
        code = cheque_code.generate() if self.operator.needs_codes else None
        given = {"cheque_id": new_id(), "code": code, "amount_cents": 1000, "valid_until": clock.today()}
        return self.order("register", **{**given, **members})

    def affiliate(self) -> Order:
        return self.order(
            "affiliate", structure_id=self.structure, siret="35600000000048", name="EPN", starts_on=clock.today()
        )

    def about(self, kind: str, registered: Order, **members: Any) -> Order:
        """An order about a cheque that was registered."""
        known = self.known.get(registered.cheque_id)
        given = {
            "cheque_id": registered.cheque_id,
            "number": known.number if known else None,
            "amount_cents": 1000,
            "structure_id": self.structure,
            "redeemed_at": clock.now(),
            "reason": "because",
            "payment_order": "M-2026-1" if kind == "activate" else None,
        }
        return self.order(kind, **{**given, **members})

    def push(self, *orders: Order) -> list[Receipt]:
        """Sends those of the orders that the operator takes, as the bridge does, and waits for what it says to them.

        Registered cheques are activated with an operator that needs it.
        """
        taken = [order for order in orders if order.kind in self.operator.supported_orders]
        receipts = self.send(*taken)
        accepted = {receipt.reference: receipt for receipt in receipts if receipt.outcome == "accepted"}
        registered = [order for order in taken if order.kind == "register" and order.reference in accepted]
        for order in registered:
            number = accepted[order.reference].number
            if order.cheque_id and number:
                self.known[order.cheque_id] = NumberedCheque(order.cheque_id, number, order.amount_cents)
        if self.operator.activates and registered:
            self.send(*(self.about("activate", order) for order in registered))
        return receipts

    def send(self, *orders: Order) -> list[Receipt]:
        """Sends orders and waits for what the operator says to them."""
        receipts = list(self.operator.push(orders))
        if isinstance(self.simulator, TakesItsTime):
            self.simulator.work_off()
            said = {line.reference: line for line in self.heard() if isinstance(line, Receipt)}
            receipts = [said.get(receipt.reference, receipt) for receipt in receipts]
        return receipts

    def time_passes(self) -> None:
        """Has an operator that takes its time do what it was told."""
        if isinstance(self.simulator, TakesItsTime):
            self.simulator.work_off()

    def heard(self) -> Iterator[interface.Line]:
        """What is on the statement, as far as it can be read."""
        with suppress(OperatorUnavailable, NoAnswer, Unreadable):
            yield from self.operator.fetch(Period(CONTRACT))

    def leaves_unknown(self, order: Order) -> bool:
        """Sends an order, again where the call did not reach the operator; whether its outcome is unknown then."""
        said = self.under_trouble(order) or self.under_trouble(order)
        self.time_passes()
        if not self.answers_at_once:
            said |= {line.reference: line.outcome for line in self.heard() if isinstance(line, Receipt)}
        return said.get(order.reference) == "unknown"

    def under_trouble(self, *orders: Order) -> dict[str, str]:
        """Sends orders and gives what was said of them before something went wrong, if it did."""
        said: dict[str, str] = {}
        try:
            for receipt in self.operator.push(orders):
                said[receipt.reference] = receipt.outcome
        except OperatorUnavailable:
            pass  # what has a receipt has it all the same, and nothing else was done
        except (NoAnswer, Unreadable):
            said = dict.fromkeys((order.reference for order in orders), "unknown") | said
        return said

    def outcomes(self, *orders: Order) -> list[str]:
        return [receipt.outcome for receipt in self.push(*orders)]

    def stream(self) -> Iterator[interface.Line]:
        """The whole statement as it is now."""
        if isinstance(self.simulator, TakesItsTime):
            self.simulator.state_all()
        return self.operator.fetch(Period(CONTRACT, cheques=iter(list(self.known.values()))))

    def lines(self) -> list[interface.Line]:
        return list(self.stream())

    def standing(self, order: Order) -> ChequeStatus:
        (found,) = [
            line for line in self.lines() if isinstance(line, ChequeStatus) and line.cheque_id == order.cheque_id
        ]
        return found

    def message(self) -> tuple[dict[str, str], bytes]:
        """The next message that the operator sent, as it came; waits for it."""
        deadline = time.monotonic() + 10
        while not self.messages:
            assert time.monotonic() < deadline, "no message came"
            time.sleep(0.02)
        return self.messages.pop(0)

    def at_till(self) -> tuple[Order, tuple[dict[str, str], bytes]]:
        """Has a registered cheque spent at the operator's own till, and gives it with the message about it."""
        self.needs(self.operator.own_till, "has no till")
        self.needs(self.sends_messages, "sends no messages")
        registered = self.register()
        self.push(self.affiliate(), registered)
        self.books.redeem_at_till(str(self.structure), registered.code, None)
        return registered, self.message()


@contextmanager
def _started(code: str) -> Iterator[Case]:
    messages: list[tuple[dict[str, str], bytes]] = []
    listener = Flask("listener")

    @listener.post("/<path:_>")
    def listen(_: str) -> ResponseReturnValue:
        messages.append((dict(request.headers), request.get_data()))
        return "", 202

    if importlib.util.find_spec(f"demo.simulators.{code}") is None:
        yield Case(code, lookup.connect(code, {}), {}, None)
        return
    module = importlib.import_module(f"demo.simulators.{code}")
    with serving.serving(listener) as address:
        simulator = module.Simulator(module.Account.generate(), f"{address}/messages")
        with simulator.running() as settings:
            given = {**settings, f"OPERATOR_{code.upper()}_TIMEOUT_SECONDS": "1"}
            yield Case(code, lookup.connect(code, given), given, simulator, messages)


@pytest.fixture(scope="module", params=CASES)
def started(request: pytest.FixtureRequest) -> Iterator[Case]:
    with _started(request.param) as case:
        yield case


@pytest.fixture
def case(started: Case) -> Case:
    """The operator with empty books."""
    if started.simulator:
        started.simulator.forget()
    started.messages.clear()
    started.known.clear()
    started.structure = new_id()
    return started
