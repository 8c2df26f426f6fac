"""Linking a programme to a contract that goes live: nobody waits long, and whoever dies half-way is followed."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import UUID

import pytest

from services.operator_bridge import tasks
from services.operator_bridge.contracts import lifecycle, linking
from tests.operator_bridge.conftest import Office

CHEQUES = 3_000


@pytest.fixture
def contract(office: Office) -> UUID:
    """Live, with cheques of its programme that are still to be linked."""
    contract_id = office.contract(state="draft")
    for _ in range(3):
        office.issue(CHEQUES // 3)
    with office.bridge.runtime.transaction() as session:
        lifecycle.change(session, office.bridge.runtime.settings.operators, contract_id, "live")
    assert office.links() == {}
    return contract_id


def linked(office: Office) -> int:
    return sum(office.links().values())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_another_order_is_created_while_a_programme_is_linked(office: Office, contract: UUID) -> None:
    with ThreadPoolExecutor(1) as pool:
        linking_all = pool.submit(linking.link, office.bridge.runtime, contract, 600.0, 20)
        wait_until(lambda: linked(office) > 0)
        office.issue(1)
        after = linked(office)
        assert linking_all.result(600)
    assert after < CHEQUES
    assert office.orders() == {"pending": CHEQUES + 1}


def test_linking_goes_on_where_whoever_did_it_ended(office: Office, contract: UUID) -> None:
    office.bridge.runtime.celery.set_current()
    assert not linking.link(office.bridge.runtime, contract, 0.0, 700)
    with suppress(KeyboardInterrupt), office.bridge.runtime.transaction() as session:
        assert linking._link_batch(session, contract, 700)
        raise KeyboardInterrupt  # a batch that is not committed
    assert linked(office) == 700
    tasks.link_all()
    tasks.link(str(contract))
    assert office.rows("SELECT 1 FROM contract WHERE linking_after IS NOT NULL") == []
    assert office.orders("register") == {"pending": CHEQUES}
    assert office.links() == {"wanted": CHEQUES}
    office.bridge.runtime.redis.flushall()


def test_a_contract_that_is_live_no_more_links_nothing_further(office: Office, contract: UUID) -> None:
    runtime = office.bridge.runtime
    assert not linking.link(runtime, contract, 0.0, 100)
    with runtime.transaction() as session:
        lifecycle.change(session, runtime.settings.operators, contract, "draining")
    assert linking.link(runtime, contract, 600.0, 100)
    assert linked(office) == 100


def test_orphans_are_adopted_batch_by_batch_each_in_a_transaction(office: Office) -> None:
    office.contract()
    office.issue(5)
    office.execute("UPDATE link SET state = 'refused'")
    regie = office.contract("regie", "draft", "regie")
    office.execute("UPDATE contract SET state = 'draining' WHERE contract_id = :id", id=regie)
    assert linking.adopt(office.bridge.runtime, regie, 2) == 5
    links = office.rows("SELECT count(*) FROM link WHERE contract_id = :id GROUP BY xmin ORDER BY 1", id=regie)
    assert [number for (number,) in links] == [1, 2, 2]
