"""One operator at a time, simulated where there is somebody to simulate, and its messages as they come."""

import importlib
import importlib.util
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol
from uuid import UUID

import pytest
from flask import Flask, request
from flask.typing import ResponseReturnValue

from demo.simulators import serving
from demo.simulators.faults import Faults
from services.operator_bridge import interface
from services.operator_bridge.interface import Operator, Order, Period, Receipt, Standing
from shared import cheque_code, clock
from shared.ids import new_id
from tests.contract.cases import CASES

CONTRACT = "contract"


class Simulator(Protocol):
    """What the suite asks of a simulator."""

    faults: Faults

    def running(self) -> Any: ...
    def forget(self) -> None: ...
    def expire_tokens(self) -> None: ...
    def redeem_at_till(self, structure: str, code: str | None = None, number: str | None = None) -> Any: ...
    def pay(self, paid_on: date | None = None) -> Any: ...


@dataclass
class Case:
    """An operator under test."""

    code: str
    operator: Operator
    settings: Mapping[str, str]
    simulator: Simulator | None
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    structure: UUID = field(default_factory=new_id)

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
        given = {"cheque_id": registered.cheque_id, "amount_cents": 1000, "structure_id": self.structure}
        return self.order(kind, **{**given, "redeemed_at": clock.now(), "reason": "because", **members})

    def push(self, *orders: Order) -> list[Receipt]:
        return list(self.operator.push(orders))

    def outcomes(self, *orders: Order) -> list[str]:
        return [receipt.outcome for receipt in self.push(*orders)]

    def lines(self) -> list[interface.Line]:
        return list(self.operator.fetch(Period(CONTRACT)))

    def standing(self, order: Order) -> Standing:
        (found,) = [line for line in self.lines() if isinstance(line, Standing) and line.cheque_id == order.cheque_id]
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
        yield Case(code, interface.connect(code, {}), {}, None)
        return
    module = importlib.import_module(f"demo.simulators.{code}")
    with serving.serving(listener) as address:
        simulator = module.Simulator(module.Account.generate(), f"{address}/messages")
        with simulator.running() as settings:
            given = {**settings, f"OPERATOR_{code.upper()}_TIMEOUT_SECONDS": "1"}
            yield Case(code, interface.connect(code, given), given, simulator, messages)


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
    started.structure = new_id()
    return started
