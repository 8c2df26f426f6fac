"""The real processes while some are killed and the broker is wiped: nothing is lost, nothing happens twice.

One small town, its stack started once. Each test leaves it whole, and ends with every balance recomputed.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from demo.acts import settling
from shared.settings.settings import SERVICES
from tests.faults import town as towns
from tests.faults.town import Silent, Town, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with towns.town() as made:
        yield made


def test_a_broker_wiped_again_and_again_in_mid_flow_loses_no_cheque(town: Town) -> None:
    before, done = town.states().get("spendable", 0), threading.Event()

    def wipe() -> None:
        with redis.Redis.from_url(town.stack.environ["REDIS_URL"]) as broker:
            while not done.wait(0.05):
                broker.flushall()

    wiper = threading.Thread(target=wipe)
    wiper.start()
    try:
        codes = town.grant(40)
        assert eventually(lambda: town.states().get("spendable", 0) == before + len(codes))
        for code in codes[:20]:
            town.present(code)
    finally:
        done.set()
        wiper.join()
    assert eventually(lambda: town.states().get("spendable", 0) == before + len(codes) - 20)
    town.assert_balanced()


def test_workers_killed_in_mid_flow_lose_and_double_nothing(town: Town) -> None:
    before = town.states().get("spendable", 0)
    with ThreadPoolExecutor(1) as background:
        granting = background.submit(town.grant, 60)
        for service in SERVICES:
            time.sleep(0.3)
            town.kill(f"{service}-worker")
        codes = granting.result()
    for service in SERVICES:
        town.start_worker(service)
    assert eventually(lambda: town.states().get("spendable", 0) == before + len(codes))
    town.present(codes[0])
    town.present(codes[0], expected=409)
    town.assert_balanced()


def test_a_lost_cheque_is_replaced_within_moments_and_after_the_redeemer_was_down_once_it_is_back(town: Town) -> None:
    first, second = (town._grant()["cheques"][0] for _ in range(2))
    settling.settle(town.year, Silent())
    replaced = town.report_lost(first["cheque_id"])
    assert eventually(lambda: bool(town.new_codes(replaced)), 20)
    town.present(first["code"], expected=409)
    settling.settle(town.year, Silent())
    town.present(town.new_codes(replaced)[0])
    for name in ("redeemer", "redeemer-worker"):
        town.kill(name)
    waiting = town.report_lost(second["cheque_id"])
    time.sleep(1)
    assert town.new_codes(waiting) == []
    town.start_server("redeemer")
    town.start_worker("redeemer")
    assert eventually(lambda: bool(town.new_codes(waiting)))
    town.present(second["code"], expected=409)
    settling.settle(town.year, Silent())
    town.present(town.new_codes(waiting)[0])
    town.assert_balanced()


def test_tills_go_on_while_the_issuer_the_bridge_and_the_broker_are_down(town: Town) -> None:
    codes, before = town.grant(4), town.states().get("redeemed", 0)
    settling.settle(town.year, Silent())
    for name in ("issuer", "operator_bridge"):
        town.kill(name)
    town.stop_broker()
    began = time.monotonic()
    for code in codes:
        town.present(code)
    assert time.monotonic() - began < 5.0
    assert town.states()["redeemed"] == before + len(codes)
    town.start_broker()
    for name in ("issuer", "operator_bridge"):
        town.start_server(name)
    town.assert_balanced()
