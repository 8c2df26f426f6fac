"""The door that is open to everybody: what is not an operator's message costs next to nothing and stops no other."""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook
from werkzeug.test import TestResponse

from demo.simulators.docaposte import Simulator
from services.operator_bridge.inbound import api
from services.operator_bridge.inbound.api import MAX_LINES
from shared.limiting.first_of_window import FirstOfWindow
from tests.operator_bridge.conftest import Office

DOOR = "/v1/operators/{}/webhooks"
BODY = json.dumps({"type": "nothing", "data": {"padding": "x" * 1000}}).encode()
STRANGER = "whsec_" + "QUJD" * 8


@pytest.fixture
def operator_settings(simulated: dict[str, str]) -> Mapping[str, str]:
    return simulated


def signed(secret: str, webhook_id: str) -> dict[str, str]:
    moment = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, moment, BODY.decode()),
    }


def send(office: Office, secret: str, webhook_id: str, operator: str = "docaposte", **headers: str) -> TestResponse:
    given = signed(secret, webhook_id) | headers
    return office.bridge.app.test_client().post(DOOR.format(operator), data=BODY, headers=given)


@pytest.mark.parametrize("operator", ["nobody", "regie", "aptic", "govstack", "__init__", "a" * 300])
def test_whoever_has_no_door_here_is_answered_the_same(office: Office, operator: str) -> None:
    nobody, answer = send(office, STRANGER, "msg_1", "somebody"), send(office, STRANGER, "msg_1", operator)
    assert (answer.status_code, answer.data) == (404, nobody.data)
    assert office.rows("SELECT count(*) FROM message") == [(0,)]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/xml"])
def test_a_message_that_is_not_json_is_refused(office: Office, simulator: Simulator, kind: str) -> None:
    answer = send(office, simulator.account.webhook_secret, "msg_1", **{"Content-Type": kind})
    assert answer.status_code == 415


def test_a_message_of_unknown_length_or_too_long_is_not_read(office: Office) -> None:
    client = office.bridge.app.test_client()
    assert client.post(DOOR.format("docaposte"), data=b"x" * 262_145).status_code == 413
    assert client.post(DOOR.format("docaposte"), headers={"Transfer-Encoding": "chunked"}).status_code == 413


@pytest.mark.parametrize("signature", ["v1,x " * 2000, "v1," + "A" * 100_000])
def test_thousands_of_signatures_are_not_compared(office: Office, simulator: Simulator, signature: str) -> None:
    answer = send(office, simulator.account.webhook_secret, "msg_1", **{"webhook-signature": signature})
    assert answer.status_code == 401


def test_a_nesting_bomb_that_an_operator_signed_is_set_aside(office: Office, simulator: Simulator) -> None:
    moment, body = datetime.now(UTC), b'{"type": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    headers = {
        "webhook-id": "msg_bomb",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(simulator.account.webhook_secret).sign("msg_bomb", moment, body.decode()),
    }
    assert office.bridge.client.post(DOOR.format("docaposte"), data=body, headers=headers).status_code == 202
    office.apply()
    assert office.rows("SELECT error FROM message") == [("The body is not a JSON object.",)]


def test_a_bad_signature_asks_the_database_nothing_and_costs_little_more_than_any_request(
    office: Office, simulator: Simulator
) -> None:
    asked: list[str] = []
    sa.event.listen(office.bridge.runtime.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    bad, good = Door(office, STRANGER), Door(office, simulator.account.webhook_secret)
    bad.knock("warm", 401)
    bad_seconds = min(bad.spent(401) for _ in range(3))
    assert asked == []
    good_seconds = min(good.spent(202) for _ in range(3))
    bare = min(spent_on_health(office) for _ in range(3))
    assert bad_seconds < good_seconds
    assert bad_seconds < 4 * bare


@dataclass
class Door:
    """Messages that are signed beforehand, so that only their receiving is measured."""

    office: Office
    secret: str
    number: int = 0

    def knock(self, webhook_id: str, expected: int) -> None:
        assert send(self.office, self.secret, webhook_id).status_code == expected

    def spent(self, expected: int, times: int = 100) -> float:
        """Seconds of this thread for so many messages, whatever else the machine does."""
        self.number += times
        prepared = [signed(self.secret, f"msg_{self.number + one}") for one in range(times)]
        client, door = self.office.bridge.app.test_client(), DOOR.format("docaposte")
        began = time.thread_time()
        answers = [client.post(door, data=BODY, headers=headers).status_code for headers in prepared]
        seconds = time.thread_time() - began
        assert set(answers) == {expected}
        return seconds


def spent_on_health(office: Office, times: int = 100) -> float:
    """The same for the cheapest thing that can be asked."""
    client = office.bridge.app.test_client()
    began = time.thread_time()
    for _ in range(times):
        client.get("/healthz")
    return time.thread_time() - began


def test_good_messages_get_through_a_flood_of_bad_ones(office: Office, simulator: Simulator) -> None:
    flooding = True

    def flood(sender: int) -> int:
        refused = 0
        while flooding:
            assert send(office, STRANGER, f"bad_{sender}_{refused}").status_code == 401
            refused += 1
        return refused

    with ThreadPoolExecutor(4) as strangers:
        floods = [strangers.submit(flood, sender) for sender in range(4)]
        answers = [send(office, simulator.account.webhook_secret, f"good_{number}") for number in range(30)]
        flooding = False
    assert {answer.status_code for answer in answers} == {202}
    assert office.rows("SELECT count(*) FROM message") == [(30,)]
    assert sum(one.result() for one in floods) > 30


def test_a_flood_is_told_in_a_few_lines(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    api._refusals = FirstOfWindow(MAX_LINES, 60.0)
    for number in range(50):
        send(office, STRANGER, f"bad_{number}")
    told = [record for record in caplog.records if "'bad_signature'" in record.getMessage()]
    assert len(told) == MAX_LINES
