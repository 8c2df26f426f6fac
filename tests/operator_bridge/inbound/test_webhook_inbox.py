"""What the operator says: by webhook, by statement, late, twice, out of order, wrongly signed."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import requests
from standardwebhooks import Webhook

from demo.simulators.docaposte import Simulator
from services.operator_bridge.inbound import applying, statement_polling, webhook_inbox
from services.operator_bridge.interface import Redeemed
from services.operator_bridge.metrics import GAUGES
from shared.values import clock, ids
from shared.values.ids import new_id
from tests.operator_bridge.conftest import Office
from tests.serving import served

DOOR = "/v1/operators/docaposte/webhooks"
OLD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def operator_settings(simulated: dict[str, str]) -> Mapping[str, str]:
    """Two secrets are accepted, as in the middle of a rotation."""
    name = "OPERATOR_DOCAPOSTE_WEBHOOK_SECRETS"
    return simulated | {name: f"{simulated[name]},{OLD_SECRET}"}


@pytest.fixture
def registered(office: Office) -> tuple[UUID, UUID]:
    """A contract with an affiliated structure, and a registered cheque."""
    contract = office.contract()
    office.affiliate(contract)
    (cheque,) = office.issue()
    office.push_all(contract)
    return contract, cheque


def redemption(cheque: UUID, structure: UUID, reference: str = "TILL-1", cents: int = 1000) -> dict[str, Any]:
    return {
        "reference": reference,
        "cheque": str(cheque),
        "structure": str(structure),
        "amount_cents": cents,
        "redeemed_at": clock.now().isoformat(),
    }


def signed(secret: str, body: bytes, *, webhook_id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    moment = at or datetime.now(UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, moment, body.decode()),
    }


def send(office: Office, simulator: Simulator, kind: str, data: Mapping[str, Any], webhook_id: str = "msg_1") -> int:
    """Posts a message as the operator would."""
    body = json.dumps({"type": kind, "data": data}).encode()
    headers = signed(simulator.account.webhook_secret, body, webhook_id=webhook_id)
    return int(office.bridge.client.post(DOOR, data=body, headers=headers).status_code)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_redemption_at_the_operators_till_comes_by_webhook(
    office: Office, simulator: Simulator, simulated: dict[str, str], registered: tuple[UUID, UUID]
) -> None:
    contract, cheque = registered
    with served(office.bridge.app, office.bridge.settings.peers["operator_bridge"]):
        till = {"code": office.codes[str(cheque)], "structure": str(office.structure)}
        answer = requests.post(f"{simulated['OPERATOR_DOCAPOSTE_URL']}/till/redemptions", json=till, timeout=5)
        assert answer.status_code == 201
        wait_for(lambda: office.rows("SELECT count(*) FROM message")[0].count == 1)
    assert office.apply() == 1
    (event,) = office.published("redemption.reported")
    assert event["contract_id"] == str(contract)
    assert (event["cheque_id"], event["structure_id"]) == (str(cheque), str(office.structure))
    assert event["amount_cents"] == 1000


def test_a_message_that_the_operator_signed_wrongly_is_sent_again_and_arrives(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    _, cheque = registered
    simulator.faults.order("bad_signature", 1, 0)
    with served(office.bridge.app, office.bridge.settings.peers["operator_bridge"]):
        simulator.webhooks.send("redemption.made", redemption(cheque, office.structure))
        wait_for(lambda: office.rows("SELECT count(*) FROM message")[0].count == 1)
    assert office.apply() == 1
    assert len(office.published("redemption.reported")) == 1


def test_the_same_word_again_by_any_way_changes_nothing(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    contract, cheque = registered
    line = simulator.register.redeem_at_till(str(office.structure), None, str(cheque))
    for webhook_id in ("msg_1", "msg_1", "msg_2"):
        assert send(office, simulator, "redemption.made", line, webhook_id) == 202
    assert office.rows("SELECT count(*) FROM message") == [(2,)]
    assert office.apply() == 2
    statement_polling.poll(office.bridge.runtime, contract)
    statement_polling.poll(office.bridge.runtime, contract)
    (event,) = office.published("redemption.reported")
    assert event["report_id"] == str(applying.report_id("docaposte", line["reference"]))


def test_a_lost_webhook_is_found_on_the_statement(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    contract, cheque = registered
    simulator.register.redeem_at_till(str(office.structure), None, str(cheque))
    assert office.post(f"/v1/contracts/{contract}/polls").json["lines"] > 0
    assert len(office.published("redemption.reported")) == 1


def test_a_payment_that_is_told_before_its_redemption_finds_it(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    contract, cheque = registered
    line = simulator.register.redeem_at_till(str(office.structure), None, str(cheque))
    (payment,) = simulator.register.pay(clock.today())
    send(office, simulator, "payment.made", payment, "msg_1")
    send(office, simulator, "redemption.made", line, "msg_2")
    office.apply()
    assert office.published("redemptions.paid") == []
    report = applying.report_id("docaposte", line["reference"])
    office.redeem([cheque], via="operator", contract_id=contract, report=report)
    (event,) = office.published("redemptions.paid")
    assert event["redemption_ids"] == [str(report)]
    assert event["payment_reference"] == payment["payment_reference"]
    assert office.links() == {"closed": 1}


def test_a_payment_of_what_we_declared_is_told_of_once(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    contract, cheque = registered
    (redemption_id,) = office.redeem([cheque])
    office.push_all(contract)
    (payment,) = simulator.register.pay(clock.today())
    for webhook_id in ("msg_1", "msg_2"):
        send(office, simulator, "payment.made", payment, webhook_id)
    office.apply()
    statement_polling.poll(office.bridge.runtime, contract)
    (event,) = office.published("redemptions.paid")
    assert event["redemption_ids"] == [str(redemption_id)]


def test_a_payment_of_a_reversed_redemption_is_a_discrepancy(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    contract, cheque = registered
    (redemption_id,) = office.redeem([cheque])
    office.push_all(contract)
    (payment,) = simulator.register.pay(clock.today())
    office.reverse(redemption_id, cheque)
    send(office, simulator, "payment.made", payment)
    office.apply()
    assert office.published("redemptions.paid") == []
    assert office.rows("SELECT kind, cheque_id FROM discrepancy") == [("paid_not_redeemed", cheque)]


def test_a_reversal_that_crossed_the_word_of_the_payment_stands_and_is_a_discrepancy(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    contract, cheque = registered
    (redemption_id,) = office.redeem([cheque])
    office.push_all(contract)
    (payment,) = simulator.register.pay(clock.today())
    send(office, simulator, "payment.made", payment)
    office.apply()
    office.reverse(redemption_id, cheque)
    assert office.rows("SELECT state FROM redemption") == [("reversed",)]
    assert office.rows("SELECT kind, cheque_id FROM discrepancy") == [("paid_not_redeemed", cheque)]


def test_a_report_that_lost_is_a_discrepancy(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    _, cheque = registered
    send(office, simulator, "redemption.made", redemption(cheque, office.structure))
    office.apply()
    report = applying.report_id("docaposte", "TILL-1")
    office.tell("redemption.contested", {"report_id": report, "cheque_id": cheque, "reason": "already-redeemed"})
    (found,) = office.get("/v1/discrepancies")["items"]
    assert (found["kind"], found["reference"]) == ("redeemed_twice", "TILL-1")


def test_a_report_of_a_cheque_that_the_operator_was_never_given_is_a_discrepancy(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    send(office, simulator, "redemption.made", redemption(new_id(), office.structure))
    assert office.apply() == 1
    assert office.published("redemption.reported") == []
    assert office.rows("SELECT kind FROM discrepancy") == [("unknown_here",)]


def test_a_report_of_another_amount_counts_and_is_a_discrepancy(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    _, cheque = registered
    send(office, simulator, "redemption.made", redemption(cheque, office.structure, cents=999))
    office.apply()
    assert len(office.published("redemption.reported")) == 1
    assert office.rows("SELECT kind FROM discrepancy") == [("amount_differs",)]


def test_a_report_that_names_an_unknown_structure_spends_the_cheque_and_is_a_discrepancy(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    _, cheque = registered
    stranger = new_id()
    send(office, simulator, "redemption.made", redemption(cheque, stranger))
    office.apply()
    assert len(office.published("redemption.reported")) == 1
    (found,) = office.get("/v1/discrepancies")["items"]
    assert (found["kind"], found["state"]) == ("unknown_here", "waiting")
    assert found["ours"] == {"value_cents": 1000, "structure_id": None}
    assert found["theirs"] == {"amount_cents": 1000, "structure_id": str(stranger)}


def test_a_message_that_cannot_be_read_is_kept_and_does_not_hold_up_the_others(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    _, cheque = registered
    given = redemption(cheque, office.structure)
    send(office, simulator, "redemption.made", {name: given[name] for name in ("reference", "cheque")}, "msg_1")
    send(office, simulator, "redemption.made", given, "msg_2")
    office.apply()
    (bad,) = office.rows("SELECT webhook_id, error, applied_at FROM message WHERE error IS NOT NULL")
    assert bad.webhook_id == "msg_1"
    assert "structure" in bad.error
    assert bad.applied_at is None
    assert len(office.published("redemption.reported")) == 1
    assert office.apply() == 0


def test_a_message_of_an_unknown_kind_is_kept_and_shown_and_never_applied(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    _, cheque = registered
    assert send(office, simulator, "payment.returned", {"payment_reference": "VIR-1"}, "msg_1") == 202
    send(office, simulator, "redemption.made", redemption(cheque, office.structure), "msg_2")
    office.apply()
    (unknown, applied) = office.rows("SELECT error, applied_at, body FROM message ORDER BY message_id")
    assert unknown.error.startswith("payment.returned: a kind that this version does not know")
    assert unknown.applied_at is None
    assert b"VIR-1" in unknown.body
    assert applied.applied_at
    (gauge,) = (gauge for gauge in GAUGES if gauge.name == "souche_unapplied_messages")
    assert office.rows(gauge.query) == [("docaposte", True, 1)]


def test_a_message_is_applied_long_after_it_was_received(
    office: Office, simulator: Simulator, registered: tuple[UUID, UUID]
) -> None:
    _, cheque = registered
    send(office, simulator, "redemption.made", redemption(cheque, office.structure))
    office.execute("UPDATE message SET received_at = now() - interval '1 day', headers = '{}'")
    office.apply()
    assert len(office.published("redemption.reported")) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda headers, body: ({}, body),
        lambda headers, body: (headers, body + b" "),
        lambda headers, body: (headers | {"webhook-id": "msg_other"}, body),
        lambda headers, body: (headers | {"webhook-signature": "v1,???"}, body),
        lambda headers, body: (headers | {"webhook-signature": "nonsense"}, body),
        lambda headers, body: (headers | {"webhook-timestamp": "soon"}, body),
        lambda headers, body: (headers, b"\xff\xfe"),
        lambda headers, body: (signed(OLD_SECRET, body, at=datetime.now(UTC) - timedelta(minutes=6)), body),
        lambda headers, body: (signed(OLD_SECRET, body, at=datetime.now(UTC) + timedelta(minutes=6)), body),
        lambda headers, body: (signed("whsec_" + "A" * 32, body), body),
    ],
)
def test_a_message_that_is_not_signed_as_it_should_be_is_not_stored(office: Office, spoil: Any) -> None:
    body = b'{"type": "redemption.made", "data": {}}'
    headers, body = spoil(signed(OLD_SECRET, body), body)
    answer = office.bridge.client.post(DOOR, data=body, headers=headers)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert office.rows("SELECT count(*) FROM message") == [(0,)]


def test_both_secrets_are_accepted_while_they_are_rotated(office: Office, simulator: Simulator) -> None:
    body = b'{"type": "nothing", "data": {}}'
    for number, secret in enumerate((OLD_SECRET, simulator.account.webhook_secret)):
        headers = signed(secret, body, webhook_id=f"msg_{number}")
        assert office.bridge.client.post(DOOR, data=body, headers=headers).status_code == 202


@pytest.mark.parametrize("operator", ["nobody", "regie", "..%2Fsync", "__init__"])
def test_who_sends_no_messages_has_no_door(office: Office, operator: str) -> None:
    answer = office.bridge.client.post(f"/v1/operators/{operator}/webhooks", data=b"{}")
    assert answer.status_code == 404


def test_a_message_that_is_too_large_is_not_read(office: Office) -> None:
    assert office.bridge.client.post(DOOR, data=b"x" * 300_000).status_code == 413


def test_a_report_names_what_it_is_by_the_operators_reference() -> None:
    first = Redeemed("TILL-1", new_id(), new_id(), 1000, clock.now())
    assert applying.report_id("docaposte", first.reference) == applying.report_id("docaposte", "TILL-1")
    assert applying.report_id("docaposte", "TILL-1") != applying.report_id("regie", "TILL-1")


def store(office: Office, days_ago: int, columns: str = "applied_at", value: str = "received_at") -> UUID:
    """Stores a message of some days ago, applied at once if nothing else is said."""
    received_at = clock.now() - timedelta(days=days_ago)
    message_id = ids.lowest_id(received_at)
    office.execute(
        f"INSERT INTO message (message_id, operator, webhook_id, headers, body, received_at, {columns})"
        f" SELECT :message_id, 'docaposte', CAST(:message_id AS text), '{{}}', '', received_at, {value}"
        " FROM (SELECT CAST(:received_at AS timestamptz) AS received_at) message",
        message_id=message_id, received_at=received_at,
    )  # fmt: skip
    return message_id


def stored(office: Office) -> set[UUID]:
    return {row.message_id for row in office.rows("SELECT message_id FROM message")}


def test_applied_messages_are_deleted_after_their_time_and_no_others(office: Office) -> None:
    kept_days = office.bridge.settings.message_retention_days
    for days in range(1, 6):
        store(office, kept_days + days)
    kept = {
        store(office, kept_days - 1),
        store(office, kept_days + 10, "applied_at", "NULL"),
        store(office, kept_days + 20, "error", "'it cannot be read'"),
        store(office, kept_days + 30, "applied_at", "now() - interval '1 day'"),
    }
    assert webhook_inbox.prune(office.bridge.runtime, batch_size=2) == 5
    assert stored(office) == kept
    assert webhook_inbox.prune(office.bridge.runtime) == 0


def test_deleting_old_messages_ends_in_time_and_goes_on_in_the_next_task(office: Office) -> None:
    for days in range(1, 6):
        store(office, office.bridge.settings.message_retention_days + days)
    assert webhook_inbox.prune(office.bridge.runtime, batch_size=2, seconds=0) == 2
    assert webhook_inbox.prune(office.bridge.runtime, batch_size=2) == 3
