"""Waiting until all events are read and all orders have an outcome, and comparing with the operator."""

import time

from demo.acts.calls import Unexpected
from demo.acts.year import OPERATIONS, Bar, Year
from shared.eventlog.event_kinds import READERS
from shared.settings.settings import SERVICES

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.2
UNSETTLED = ("pending", "held", "sent", "unknown")


def wait_until_read(year: Year) -> None:
    """Waits until every service has read every log to its end; raises Unexpected where that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (behind := _unread(year)) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    if behind:
        raise Unexpected(f"{behind} events were not read within {PATIENCE_SECONDS:.0f} s")


def _unread(year: Year) -> int:
    """How many events have not reached all who read them."""
    reading = {service: year.calls.get(service, "/v1/events/reading", OPERATIONS, seconds=1) for service in SERVICES}
    positions = {
        (cursor["publisher"], reader): cursor["position"]
        for reader in SERVICES
        for cursor in reading[reader]["cursors"]
    }
    return sum(
        max(0, reading[publisher]["head"] - positions.get((publisher, reader), 0))
        for publisher in SERVICES
        for reader in READERS[publisher]
    )


def expire(year: Year, bar: Bar) -> None:
    """Expires the cheques whose last day has passed."""
    bar.begin(1)
    year.count("cheques expired", year.calls.post("redeemer", "/v1/expiries", OPERATIONS)["expired"])
    bar.advance()


def settle(year: Year, bar: Bar) -> None:
    """Waits until every event is read and no order to the operator is on its way."""
    wait_until_read(year)
    waiting = unsettled(year)
    bar.begin(waiting)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while waiting:
        if time.monotonic() > deadline:
            raise Unexpected(f"{waiting} orders to the operator were not settled within {PATIENCE_SECONDS:.0f} s")
        time.sleep(PAUSE_SECONDS)
        before, waiting = waiting, unsettled(year)
        bar.advance(max(0, before - waiting))
    wait_until_read(year)


def unsettled(year: Year) -> int:
    """How many orders to the operator have no outcome yet."""
    contracts = year.calls.get("operator_bridge", "/v1/balances", OPERATIONS)["contracts"]
    return sum(order["number"] for contract in contracts for order in contract["orders"] if order["state"] in UNSETTLED)


def pay(year: Year, operator: str, bar: Bar) -> None:
    """Makes the operator pay the structures, and waits until the redeemer has every payment."""
    due = year.calls.post_to(f"{operator}/admin/payments", {}, expected=200)["redemptions"]
    bar.begin(due)
    paid = 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while paid < due:
        if time.monotonic() > deadline:
            raise Unexpected(f"only {paid} of {due} payments were heard of within {PATIENCE_SECONDS:.0f} s")
        time.sleep(PAUSE_SECONDS)
        before, paid = paid, _paid(year)
        bar.advance(paid - before)
    wait_until_read(year)
    year.count("redemptions paid by the operator", paid)


def _paid(year: Year) -> int:
    programmes = year.calls.get("redeemer", "/v1/balances", OPERATIONS)["programmes"]
    return sum(int(programme["redemptions"]["paid"]["number"]) for programme in programmes)


def compare(year: Year, contract_id: str, bar: Bar) -> int:
    """Reads the operator's statement; returns how many of its cheques differ from our register."""
    bar.begin(2)
    path = f"/v1/contracts/{contract_id}"
    year.calls.post("operator_bridge", f"{path}/polls", OPERATIONS, expected=(200, 503))  # 503: a worker reads it now
    bar.advance()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := year.calls.post("operator_bridge", f"{path}/comparison", OPERATIONS))["moving"]:
        if time.monotonic() > deadline:
            raise Unexpected(f"{found['moving']} cheques are still on their way to the operator or from it")
        time.sleep(PAUSE_SECONDS)
    bar.advance()
    return int(found["count"])
