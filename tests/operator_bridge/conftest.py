"""A bridge beside a simulated operator over real HTTP and an issuer that gives codes; news is told to it directly."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from demo.simulators import docaposte
from demo.simulators.docaposte import Account, Simulator
from services.operator_bridge.inbound import webhook_inbox
from services.operator_bridge.inbound.consuming import HANDLERS
from services.operator_bridge.orders import sending
from shared.eventlog import consumer, event_kinds
from shared.eventlog.log import EVENT, Event
from shared.values import cheque_code, clock
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.serving import served

PROGRAMME = "pass-numerique"


@dataclass
class Office:
    """A bridge, and what its tests do with it."""

    bridge: ServiceUnderTest
    codes: dict[str, str]
    structure: UUID = field(default_factory=new_id)
    programme: str = PROGRAMME

    def contract(self, operator: str = docaposte.CODE, state: str = "live", code: str = "contract") -> UUID:
        """Makes a contract and takes it to a state."""
        body = {"code": code, "operator": operator, "programme": self.programme, "starts_on": clock.today().isoformat()}
        answer = self.post("/v1/contracts", body)
        assert answer.status_code == 201, answer.json
        contract_id = UUID(answer.json["contract_id"])
        if state != "draft":
            assert self.post(f"/v1/contracts/{contract_id}/state", {"state": state}).status_code == 200
        return contract_id

    def post(self, path: str, body: Any = None) -> Any:
        return self.bridge.client.post(path, json=body or {}, headers=self.bridge.headers("admin"))

    def get(self, path: str) -> Any:
        answer = self.bridge.client.get(path, headers=self.bridge.headers("operations"))
        assert answer.status_code == 200, answer.json
        return answer.json

    def tell(self, kind: str, body: Mapping[str, Any]) -> None:
        """Applies news of another service as the consumer would."""
        loaded = event_kinds.load(kind, body)
        event = Event(new_id(), kind, "key", datetime.now(UTC), loaded)
        with self.bridge.runtime.transaction() as session:
            consumer.run_handlers(session, [event], HANDLERS)

    def issue(self, number: int = 1, *, tell: bool = True) -> list[UUID]:
        """Makes some cheques of 10 €, whose codes the issuer gives."""
        cheques = [new_id() for _ in range(number)]
        self.codes.update({str(cheque_id): cheque_code.generate() for cheque_id in cheques})
        if tell:
            self.tell_issued(cheques)
        return cheques

    def tell_issued(self, cheques: Sequence[UUID]) -> None:
        today = clock.today()
        self.tell(
            "cheques.issued",
            {
                "grant_id": new_id(),
                "programme": {"code": self.programme, "spendable": "on_issue", "services": [], "territory": []},
                "granted_on": today,
                "valid_until": today + timedelta(days=300),
                "presentable_until": today + timedelta(days=330),
                "cheques": [{"cheque_id": cheque, "digest": "0" * 64, "value_cents": 1000} for cheque in cheques],
            },
        )

    def affiliate(self, contract_id: UUID, name: str = "Espace public numérique") -> None:
        self.tell(
            "structure.affiliated",
            {
                "structure_id": self.structure,
                "siret": "35600000000048",
                "name": name,
                "contract_id": contract_id,
                "starts_on": clock.today(),
                "ends_on": None,
            },
        )

    def redeem(
        self, cheques: Sequence[UUID], via: str = "till", contract_id: UUID | None = None, report: UUID | None = None
    ) -> list[UUID]:
        """Tells that cheques were spent, and gives the redemptions; `report` is the operator's, if it was there."""
        redemptions = [report or new_id() for _ in cheques]
        self.tell(
            "cheques.redeemed",
            {
                "presentation_id": report or new_id(),
                "structure_id": self.structure,
                "programme": self.programme,
                "via": via,
                "contract_id": contract_id,
                "redeemed_at": clock.now(),
                "given_on": clock.today(),
                "redemptions": [
                    {"redemption_id": redemption, "cheque_id": cheque, "amount_cents": 1000}
                    for redemption, cheque in zip(redemptions, cheques, strict=True)
                ],
            },
        )
        return redemptions

    def reverse(self, redemption_id: UUID, cheque_id: UUID) -> None:
        self.tell(
            "redemption.reversed",
            {
                "redemption_id": redemption_id,
                "cheque_id": cheque_id,
                "structure_id": self.structure,
                "amount_cents": 1000,
                "reason": "the workshop was cancelled",
                "reversed_at": clock.now(),
            },
        )

    def cancel(self, cheques: Sequence[UUID]) -> None:
        self.tell(
            "cheques.cancelled",
            {"cancellation_id": new_id(), "cheque_ids": list(cheques), "cancelled_at": clock.now()},
        )

    def push(self, contract_id: UUID, seconds: float = 5.0) -> int:
        """Sends what is due, whatever backoff there was."""
        self.execute("UPDATE contract SET next_push_at = now()")
        self.execute("UPDATE operator_order SET next_attempt_at = now() WHERE state = 'pending'")
        return sending.push(self.bridge.runtime, contract_id, seconds)

    def push_all(self, contract_id: UUID) -> None:
        """Sends until nothing is due any more."""
        while self.push(contract_id):
            pass

    def apply(self) -> int:
        return webhook_inbox.apply_waiting(self.bridge.runtime)

    def execute(self, statement: str, **params: Any) -> None:
        with self.bridge.runtime.transaction() as session:
            session.execute(sa.text(statement), params)

    def rows(self, statement: str, **params: Any) -> list[Any]:
        with self.bridge.runtime.transaction() as session:
            return list(session.execute(sa.text(statement), params))

    def orders(self, kind: str | None = None) -> dict[str, int]:
        """How many orders there are by state."""
        chosen = "" if kind is None else "WHERE kind = :kind"
        found = self.rows(f"SELECT state, count(*) FROM operator_order {chosen} GROUP BY state", kind=kind)
        return {row.state: row.count for row in found}

    def links(self) -> dict[str, int]:
        """How many links there are by state."""
        return {row.state: row.count for row in self.rows("SELECT state, count(*) FROM link GROUP BY state")}

    def published(self, kind: str) -> list[Mapping[str, Any]]:
        """The bodies of the events of a kind that the bridge appended."""
        with self.bridge.runtime.transaction() as session:
            found = session.scalars(sa.select(EVENT.c.body).where(EVENT.c.kind == kind).order_by(EVENT.c.sequence))
            return list(found)


@pytest.fixture(scope="session")
def simulator(service_addresses: Mapping[str, str]) -> Simulator:
    """A simulated operator that sends its messages to where the bridge is, if a test serves it."""
    url = f"{service_addresses['operator_bridge']}/v1/operators/{docaposte.CODE}/webhooks"
    return Simulator(Account.generate(), url)


@pytest.fixture(scope="session")
def simulated(simulator: Simulator) -> Iterator[dict[str, str]]:
    """The settings to work with the simulated operator, which is served for the session."""
    with simulator.running() as settings:
        yield settings | {"OPERATOR_DOCAPOSTE_TIMEOUT_SECONDS": "1"}


@pytest.fixture
def operator_settings(simulated: dict[str, str]) -> Mapping[str, str]:
    return simulated


@pytest.fixture(scope="module")
def codes(service_addresses: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Codes by cheque, as the issuer gives them to the bridge."""
    codes: dict[str, str] = {}
    issuer = Flask("codes")

    @issuer.post("/v1/codes")
    def give() -> ResponseReturnValue:
        cheques = request.get_json()["cheque_ids"]
        return jsonify(codes=[{"cheque_id": cheque, "code": codes[cheque]} for cheque in cheques if cheque in codes])

    with served(issuer, service_addresses["issuer"]):
        yield codes


@pytest.fixture
def office(bridge: ServiceUnderTest, codes: dict[str, str], simulator: Simulator) -> Iterator[Office]:
    """A bridge on empty tables, and an operator on empty books."""
    simulator.forget()
    yield Office(bridge, codes)
    simulator.faults.clear()
