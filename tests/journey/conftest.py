"""The three services together, each with its own schema and its feed over HTTP; news is carried when a test says so."""

import importlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from werkzeug.test import TestResponse

from shared.eventlog.event_kinds import READERS
from shared.settings.settings import SERVICES
from tests.harness import ServiceUnderTest
from tests.serving import served

PROGRAMME: dict[str, Any] = {
    "code": "pass-numerique",
    "name": "Pass numérique",
    "face_value_cents": 1000,
    "minimum_grant_cents": 5000,
    "validity": {"months": 12},
    "grace_days": 30,
    "spendable": "on_issue",
    "services": [],
    "territory": [],
}
ENVELOPE: dict[str, Any] = {
    "programme": "pass-numerique",
    "funder": "État",
    "convention_reference": "ETAT-2026",
    "amount_cents": 1_000_000,
    "starts_on": "2020-01-01",
    "ends_on": "2099-12-31",
    "target_publics": [],
    "priority": 1,
}
PLACE = "id,pivot,nom,commune,code_postal,adresse,date_maj,services\n"


@dataclass
class World:
    """A programme with one envelope, one prescriber, one structure, and a contract (with the régie, unless told)."""

    services: Mapping[str, ServiceUnderTest]
    operator: str = "regie"
    terms: Mapping[str, Any] = field(default_factory=lambda: PROGRAMME)
    prescriber: UUID = field(init=False)
    structure: UUID = field(init=False)
    contract: UUID = field(init=False)

    def call(
        self, service: str, method: str, path: str, role: str, body: Any = None, *, scope: UUID | None = None
    ) -> TestResponse:
        """One request to one service; a string is sent as CSV."""
        under_test = self.services[service]
        headers = under_test.headers(role, scope, key=str(uuid4()))
        if isinstance(body, str):
            content = {"data": io.BytesIO(body.encode()), "content_type": "text/csv"}
            return under_test.app.test_client().open(path, method=method, headers=headers, **content)  # type: ignore[arg-type]
        return under_test.app.test_client().open(path, method=method, headers=headers, json=body)

    def ask(
        self, service: str, method: str, path: str, role: str, body: Any = None, *, scope: UUID | None = None
    ) -> Any:
        """The JSON of a request that must succeed."""
        answer = self.call(service, method, path, role, body, scope=scope)
        assert answer.status_code < 300, answer.text
        return answer.get_json()

    def grant(self, amount_cents: int = 5000) -> dict[str, Any]:
        """A grant with the codes of its cheques."""
        body = {"programme": "pass-numerique", "amount_cents": amount_cents, "reason": "evaluation"}
        granted: dict[str, Any] = self.ask("issuer", "POST", "/v1/grants", "prescriber", body, scope=self.prescriber)
        return granted

    def present(self, *codes: str) -> TestResponse:
        """Presents codes at the structure's till."""
        return self.call("redeemer", "POST", "/v1/redemptions", "structure", {"codes": codes}, scope=self.structure)

    def settle(self) -> None:
        """Carries news, and orders to the operator, until nothing moves any more."""
        while sum(self._carry(publisher, reader) for publisher in SERVICES for reader in READERS[publisher]):
            self.push()

    def push(self) -> None:
        """Sends what the operator has to be told."""
        sync = importlib.import_module("services.operator_bridge.orders.sending")
        sync.push(self.services["operator_bridge"].runtime, self.contract, 5.0)

    def _carry(self, publisher: str, reader: str) -> int:
        module = "inbound.consuming" if reader == "operator_bridge" else "inbox"
        handlers = importlib.import_module(f"services.{reader}.{module}").HANDLERS
        return self.services[reader].runtime.pull(publisher, handlers)

    def prepare(self) -> None:
        """Sets up what a département sets up before its first cheque."""
        self.ask("issuer", "POST", "/v1/programmes", "admin", self.terms)
        self.ask("issuer", "POST", "/v1/envelopes", "admin", ENVELOPE)
        place = PLACE + '{},{},{},Agen,47000,1 rue du Pont,2026-01-05,"Maîtrise des outils numériques du quotidien"\n'
        self.ask("issuer", "POST", "/v1/prescribers/imports", "admin", place.format("p1", "82854918800021", "CCAS"))
        self.ask("redeemer", "POST", "/v1/structures/imports", "admin", place.format("s1", "82854918800021", "Campus"))
        self.prescriber = UUID(self.ask("issuer", "GET", "/v1/prescribers", "admin")["items"][0]["prescriber_id"])
        self.structure = UUID(self.ask("redeemer", "GET", "/v1/structures", "admin")["items"][0]["structure_id"])
        contract = {
            "code": f"{self.operator}-2026",
            "operator": self.operator,
            "programme": "pass-numerique",
            "starts_on": "2026-01-01",
        }
        made = self.ask("operator_bridge", "POST", "/v1/contracts", "admin", contract)
        self.contract = UUID(made["contract_id"])
        self.ask("operator_bridge", "POST", f"/v1/contracts/{self.contract}/state", "admin", {"state": "live"})
        self.settle()
        affiliation = {
            "structure_id": str(self.structure),
            "contract_id": str(self.contract),
            "starts_on": "2026-01-01",
        }
        self.ask("redeemer", "POST", "/v1/affiliations", "admin", affiliation)
        self.settle()


@pytest.fixture
def world(service: Callable[[str], ServiceUnderTest]) -> Iterator[World]:
    """A prepared world on empty tables."""
    with ExitStack() as stack:
        services = {name: service(name) for name in SERVICES}
        for under_test in services.values():
            stack.enter_context(served(under_test.app, under_test.settings.peers[under_test.settings.service]))
        made = World(services)
        made.prepare()
        yield made
