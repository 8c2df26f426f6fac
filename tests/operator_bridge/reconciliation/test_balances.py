"""What register, redeemer and operators had each day, and the lists as CSV."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from services.operator_bridge import tasks
from services.operator_bridge.reconciliation import balances, runs
from services.redeemer.inbox import HANDLERS
from shared.eventlog import consumer, event_kinds
from shared.eventlog.log import Event
from shared.values import clock
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.operator_bridge.conftest import Office
from tests.serving import served


@pytest.fixture
def redeemer_beside(
    service: Callable[[str], ServiceUnderTest], office: Office, service_addresses: Mapping[str, str]
) -> Iterator[ServiceUnderTest]:
    """The redeemer, served where the bridge looks for it."""
    with serving_redeemer(service, service_addresses) as found:
        yield found


@contextmanager
def serving_redeemer(
    service: Callable[[str], ServiceUnderTest], addresses: Mapping[str, str]
) -> Iterator[ServiceUnderTest]:
    found = service("redeemer")
    with served(found.app, addresses["redeemer"]):
        yield found


def issue(office: Office, redeemer: ServiceUnderTest, number: int) -> list[UUID]:
    """Cheques that both the bridge and the redeemer are told of."""
    cheques = office.issue(number)
    body = {
        "grant_id": new_id(),
        "programme": {"code": office.programme, "spendable": "on_issue", "services": [], "territory": []},
        "granted_on": clock.today(),
        "valid_until": clock.today(),
        "presentable_until": clock.today(),
        "cheques": [{"cheque_id": cheque, "digest": cheque.hex * 2, "value_cents": 1000} for cheque in cheques],
    }
    loaded = event_kinds.load("cheques.issued", body)
    with redeemer.runtime.transaction() as session:
        consumer.run_handlers(session, [Event(new_id(), "cheques.issued", "key", clock.now(), loaded)], HANDLERS)
    return cheques


def reconcile(office: Office, contract: UUID) -> None:
    run = office.post("/v1/reconciliations", {"contract_id": str(contract)}).json
    runs.run(office.bridge.runtime, UUID(run["reconciliation_id"]))


def exported(office: Office, path: str) -> list[dict[str, str]]:
    answer = office.bridge.client.get(path, headers=office.bridge.headers("finance"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


def the_balance(office: Office) -> dict[str, Any]:
    (found,) = office.get("/v1/daily-balances")
    return dict(found)


def test_the_three_parties_are_kept_side_by_side(office: Office, redeemer_beside: ServiceUnderTest) -> None:
    contract = office.contract()
    issue(office, redeemer_beside, 3)
    office.push_all(contract)
    reconcile(office, contract)
    assert balances.keep_if_due(office.bridge.runtime)
    kept = the_balance(office)
    assert (kept["day"], kept["programme"], kept["agrees"]) == (clock.today().isoformat(), office.programme, True)
    assert kept["register"] == kept["redeemer"]
    assert kept["register"]["issued"] == kept["register"]["open"] == {"number": 3, "cents": 3000}
    (held,) = kept["operators"]
    assert held["theirs"] == {"registered": {"number": 3, "cents": 3000, "redeemed_cents": 0}}


def test_a_difference_between_two_of_them_is_seen(office: Office, redeemer_beside: ServiceUnderTest) -> None:
    cheques = issue(office, redeemer_beside, 3)
    office.cancel(cheques[:1])
    balances.keep(office.bridge.runtime, clock.today())
    kept = the_balance(office)
    assert kept["agrees"] is False
    assert (kept["register"]["cancelled"]["number"], kept["redeemer"]["cancelled"]["number"]) == (1, 0)


def test_a_difference_at_the_operator_is_seen(
    office: Office, simulator: Simulator, redeemer_beside: ServiceUnderTest
) -> None:
    contract = office.contract()
    cheques = issue(office, redeemer_beside, 2)
    office.push_all(contract)
    simulator.register.cheques[str(cheques[0])].value_cents = 900
    reconcile(office, contract)
    balances.keep(office.bridge.runtime, clock.today())
    kept = the_balance(office)
    assert (kept["agrees"], kept["operators"][0]["differences"]) == (False, {"amount_differs": 1})


def test_without_the_redeemer_the_balance_is_kept_and_completed_later(
    office: Office, service: Callable[[str], ServiceUnderTest], service_addresses: Mapping[str, str]
) -> None:
    office.issue(2)
    assert balances.keep_if_due(office.bridge.runtime)
    assert (the_balance(office)["redeemer"], the_balance(office)["agrees"]) == (None, None)
    with serving_redeemer(service, service_addresses):
        assert balances.keep_if_due(office.bridge.runtime)
    assert the_balance(office)["redeemer"]["issued"] == {"number": 0, "cents": 0}


def test_the_day_is_kept_once_and_again_after_a_comparison(office: Office, redeemer_beside: ServiceUnderTest) -> None:
    contract = office.contract()
    issue(office, redeemer_beside, 1)
    office.push_all(contract)
    assert balances.keep_if_due(office.bridge.runtime)
    assert not balances.keep_if_due(office.bridge.runtime)
    office.post("/v1/reconciliations", {"contract_id": str(contract)})
    assert not balances.keep_if_due(office.bridge.runtime)
    reconcile(office, contract)
    office.execute("UPDATE reconciliation SET state = 'done', finished_at = now() WHERE state = 'requested'")
    assert balances.keep_if_due(office.bridge.runtime)
    assert len(office.get("/v1/daily-balances")) == 1


def test_balances_are_chosen_by_day_and_programme(office: Office, redeemer_beside: ServiceUnderTest) -> None:
    issue(office, redeemer_beside, 1)
    balances.keep(office.bridge.runtime, clock.today())
    today = clock.today().isoformat()
    assert len(office.get(f"/v1/daily-balances?from={today}&to={today}&programme={office.programme}")) == 1
    assert office.get("/v1/daily-balances?from=2999-01-01") == []
    assert office.get("/v1/daily-balances?programme=another") == []


def test_the_tick_reconciles_and_keeps_the_balance(office: Office, redeemer_beside: ServiceUnderTest) -> None:
    office.bridge.runtime.celery.set_current()
    contract = office.contract()
    issue(office, redeemer_beside, 2)
    office.push_all(contract)
    office.execute("INSERT INTO reconciliation (contract_id) VALUES (:contract)", contract=contract)
    tasks.reconcile_due()
    for (run,) in office.rows("SELECT reconciliation_id FROM reconciliation"):
        tasks.reconcile(str(run))
    tasks.reconcile_due()
    assert {state for (state,) in office.rows("SELECT state FROM reconciliation")} == {"done"}
    assert the_balance(office)["agrees"] is True


def test_the_lists_are_exported_as_csv(office: Office, simulator: Simulator, redeemer_beside: ServiceUnderTest) -> None:
    contract = office.contract()
    cheques = issue(office, redeemer_beside, 2)
    office.push_all(contract)
    simulator.register.cheques[str(cheques[0])].value_cents = 900
    reconcile(office, contract)
    balances.keep(office.bridge.runtime, clock.today())
    (run,) = exported(office, f"/v1/reconciliations/export.csv?contract_id={contract}")
    assert (run["contract"], run["state"], run["waiting"]) == ("contract", "done", "1")
    (difference,) = exported(office, "/v1/discrepancies/export.csv?state=waiting&kind=amount_differs")
    assert (difference["cheque_id"], difference["contract"]) == (str(cheques[0]), "contract")
    assert exported(office, "/v1/discrepancies/export.csv?state=resolved") == []
    lines = exported(office, "/v1/daily-balances/export.csv")
    chosen = {(line["party"], line["state"]): line["number"] for line in lines}
    assert chosen["register", "issued"] == chosen["redeemer", "issued"] == chosen["docaposte", "registered"] == "2"


def test_a_cell_that_a_spreadsheet_would_run_is_text(
    office: Office, simulator: Simulator, redeemer_beside: ServiceUnderTest
) -> None:
    contract = office.contract()
    paid = {"payment_reference": "VIR-9", "paid_on": "2026-03-01", "redemptions": ["=1+1"]}
    simulator.register._note("contract", {"type": "payment", **paid})
    reconcile(office, contract)
    (difference,) = exported(office, "/v1/discrepancies/export.csv")
    assert difference["reference"] == "'=1+1"


def test_an_export_of_many_is_whole(office: Office, redeemer_beside: ServiceUnderTest) -> None:
    office.execute(
        "INSERT INTO discrepancy (operator, kind, reference)"
        " SELECT 'docaposte', 'amount_differs', i::text FROM generate_series(1, 2345) i"
    )
    assert len(exported(office, "/v1/discrepancies/export.csv")) == 2345
