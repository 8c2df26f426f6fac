"""A lot that is suspended or agreed while something else happens to its cheques: each sees what the other did."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from services.issuer.grants.issuing import Secrets
from services.issuer.lifecycle import blocking, cancelling, replacing
from tests.issuer.office import Office, ids, problem, redeemed

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture
def town(office: Office) -> Office:
    """An office with a lot `hiver`."""
    office.envelope(100_000)
    office.made(office.post("/v1/lots", {"code": "hiver", "name": "Hiver 2026", "programme": "pass"}))
    return office


def statement(office: Office) -> Any:
    return office.made(office.get("/v1/lots/hiver/statement", "finance"), 200)


def let_run(office: Office, other: Future[TestResponse]) -> None:
    """Until the other request is answered, or waits for a lock."""
    for _ in range(200):
        if other.done() or office.value(_WAITING):
            return
        time.sleep(0.02)


def test_a_cheque_that_is_released_while_its_lot_is_suspended_is_blocked_with_it(town: Office) -> None:
    grant = town.grant(lot="hiver")
    first = UUID(ids(grant)[0])
    town.made(town.post("/v1/blocks", {"cheque_ids": [str(first)], "reason": "Perdu."}), 200)
    with ThreadPoolExecutor() as pool:
        with town.service.runtime.transaction() as session:
            blocking.unblock(session, [first], "Retrouvé.", None)
            other = pool.submit(town.post, "/v1/lots/hiver/suspension", {"reason": "Carton volé."})
            let_run(town, other)
        assert other.result().status_code == 200
    assert town.states(grant) == ["blocked"] * 5


@pytest.mark.parametrize("what", ["replacement", "cancellation"])
def test_a_lot_is_not_agreed_while_a_cheque_of_it_is_being_replaced_or_cancelled(town: Office, what: str) -> None:
    first, *others = ids(town.grant(lot="hiver"))
    town.made(town.post("/v1/blocks", {"cheque_ids": [first], "reason": "Perdu."}), 200)
    town.tell(redeemed(others))
    digest = statement(town)["digest"]
    codes = Secrets.of(town.service.settings.keys).codes
    with ThreadPoolExecutor() as pool:
        with town.service.runtime.transaction() as session:
            if what == "replacement":
                replacing.request(session, codes, [UUID(first)], "lost", "Perdu.", "test", None)
            else:
                cancelling.request(session, [UUID(first)], "Rendu.", "test", None)
            other = pool.submit(town.post, "/v1/lots/hiver/statement", {"digest": digest}, "finance")
            let_run(town, other)
        assert problem(other.result()) == (409, "lot-still-open")


def test_a_cheque_of_a_suspended_lot_can_be_released_once_the_lot_is_closed(town: Office) -> None:
    grant = town.grant(lot="hiver")
    town.made(town.post("/v1/lots/hiver/suspension", {"reason": "Carton volé."}), 200)
    released = {"cheque_ids": ids(grant), "reason": "Retrouvés."}
    assert problem(town.post("/v1/unblocks", released)) == (409, "lot-suspended")
    assert town.post("/v1/lots/hiver/statement", {"digest": statement(town)["digest"]}, "finance").status_code < 300
    assert problem(town.post("/v1/lots/hiver/resumption", {"reason": "Retrouvé."})) == (409, "lot-closed")
    town.made(town.post("/v1/unblocks", released), 200)
    assert town.states(grant) == ["spendable"] * 5
