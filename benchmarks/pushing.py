"""Orders pushed to the simulated Docaposte, against what it allows and against what it takes if it allows anything.

The codes come of a real issuer, batch by batch, as they do in production. The simulator is a process of its own. It
allows ten batches a second, as the operator does, but does not insist: by turns we keep to that and do not, and one
client that does nothing else sends it batches of the same size.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from itertools import count, islice
from pathlib import Path
from time import perf_counter
from uuid import UUID

import requests

from benchmarks import bulk, desk
from benchmarks.desk import CHEQUES, Desk
from benchmarks.machine import machine, wait_for
from benchmarks.table import Line, by_turns
from demo.simulators.docaposte import CODE, Account
from demo.stack.embedded import free_port
from services.operator_bridge.adapter_kit import lookup, mapping
from services.operator_bridge.contracts import lifecycle
from services.operator_bridge.inbound.consuming import HANDLERS
from services.operator_bridge.interface import Order
from services.operator_bridge.orders import sending
from shared.observability import logs
from shared.process.runtime import Runtime
from shared.settings import settings
from shared.values import clock
from shared.values.cheque_code import generate, printed
from shared.values.ids import new_id

SERVICE = "operator_bridge"
_PATIENCE_SECONDS = 600.0
_NO_LIMIT = 1e6


def throughput(quick: bool) -> Iterator[Line]:
    """Registrations a second, by turns."""
    orders, turns = (10_000, 3) if quick else (20_000, 5)  # of either line
    account = Account.generate()
    with machine(desk.SERVICE, SERVICE) as stage, ExitStack() as life:
        port = free_port()
        stage.start("simulator", "-m", f"demo.simulators.{CODE}", *account.arguments(port, "http://127.0.0.1:9"))
        wait_for(port)
        stage.environ |= account.settings(f"http://127.0.0.1:{port}")
        office = Desk(stage, stage.serve(desk.SERVICE))
        stage.environ["ISSUER_URL"] = f"http://127.0.0.1:{office.port}"
        runtime = Runtime(settings.load(SERVICE, stage.environ))
        life.callback(runtime.engine.dispose)
        contract, first = _live(runtime), count(0, orders)

        operator = lookup.connect(CODE, runtime.settings.operators)
        allowed = operator.rate
        life.enter_context(_logging(stage.folder / "bridge.log"))

        def ours(rate: float) -> float:
            bulk.grant(office, orders // CHEQUES, next(first))
            runtime.pull(desk.SERVICE, HANDLERS)
            operator.rate = rate  # type: ignore[misc]
            began = perf_counter()
            sent = sending.push(runtime, contract, _PATIENCE_SECONDS)
            if sent != orders:
                raise AssertionError(f"{sent} of {orders} orders were sent")
            return orders / (perf_counter() - began)

        most = allowed * operator.batch_size
        note = f"batches of {operator.batch_size}; the operator allows {allowed:.0f} a second"
        kept = by_turns(lambda: ours(allowed), lambda: most, turns)
        yield kept.line("orders pushed as fast as the operator allows", "what it allows", 0.5, "orders", note)
        free = by_turns(lambda: ours(_NO_LIMIT), lambda: orders / _filled(account, port, orders), turns)
        note = f"batches of {operator.batch_size}; nobody keeps to a rate"
        yield free.line("orders pushed to the simulator", "the simulator alone, same batches", 0.5, "orders", note)


@contextmanager
def _logging(path: Path) -> Iterator[None]:
    """What a worker logs in production, to a file."""
    with path.open("w", encoding="utf-8") as file:
        with redirect_stderr(file):
            logs.configure(SERVICE, "INFO")
        yield
        logging.getLogger().handlers.clear()


def _live(runtime: Runtime) -> UUID:
    body = {"code": "benchmark", "operator": CODE, "programme": "pass", "starts_on": clock.today()}
    with runtime.transaction() as session:
        contract = lifecycle.create(session, body).contract_id
    with runtime.transaction() as session:
        lifecycle.change(session, runtime.settings.operators, contract, "live")
    return contract


def _filled(account: Account, port: int, orders: int) -> float:
    """Seconds in which the simulator takes so many registrations from one client that does nothing else."""
    batch, address = lookup.adapter(CODE).batch_size, f"http://127.0.0.1:{port}"
    lines = iter([mapping.write(_order(), kind="operation", cheque_id="cheque") for _ in range(orders)])
    with requests.Session() as session:
        credentials = (account.client_id, account.client_secret)
        grant = {"grant_type": "client_credentials"}
        token = session.post(f"{address}/oauth/token", data=grant, auth=credentials, timeout=30).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        began = perf_counter()
        while part := list(islice(lines, batch)):
            session.post(f"{address}/v1/operations", json={"operations": part}, timeout=30).raise_for_status()
        return perf_counter() - began


def _order() -> Order:
    day = clock.add_months(clock.today(), 12)
    return Order(
        str(new_id()), "register", "benchmark", cheque_id=new_id(), code=printed(generate()), amount_cents=1000,
        valid_until=day,
    )  # fmt: skip
