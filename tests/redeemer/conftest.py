"""A redeemer with a programme, a contract and structures, to which the other services' news are told directly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from services.redeemer.inbox import HANDLERS
from shared.eventlog import consumer, event_kinds
from shared.eventlog.log import Event
from shared.values import cheque_code, clock
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest

PROGRAMME = "pass-numerique"
ANYTHING: Mapping[str, Any] = {"code": PROGRAMME, "spendable": "on_issue", "services": [], "territory": []}
COLUMNS = "id,pivot,nom,commune,code_postal,code_insee,adresse,date_maj"


def day(offset: int) -> date:
    """A day so many days from today."""
    return clock.today() + timedelta(days=offset)


@dataclass(frozen=True)
class Cheque:
    """A cheque as its holder has it."""

    id: UUID
    code: str


@dataclass
class Till:
    """A redeemer, and what its tests do with it."""

    redeemer: ServiceUnderTest
    contract: UUID = field(default_factory=new_id)
    structure: UUID = field(default_factory=new_id)

    def tell(self, kind: str, body: Mapping[str, Any], *, times: int = 1) -> Event[Any]:
        """Applies news of another service as the consumer would, each in a transaction."""
        loaded = event_kinds.load(kind, body)
        event = Event(new_id(), kind, "key", datetime.now(UTC), loaded)
        for _ in range(times):
            with self.redeemer.runtime.transaction() as session:
                consumer.run_handlers(session, [event], HANDLERS)
        return event

    def issue(self, number: int = 1, programme: Mapping[str, Any] = ANYTHING, **changes: Any) -> list[Cheque]:
        """Makes some cheques of 10 € and tells the redeemer of them."""
        made, body = self.granted(number, programme, **changes)
        self.tell("cheques.issued", body)
        return made

    def granted(
        self, number: int = 1, programme: Mapping[str, Any] = ANYTHING, **changes: Any
    ) -> tuple[list[Cheque], dict[str, Any]]:
        """Makes some cheques, and the news of them."""
        made = [Cheque(new_id(), cheque_code.generate()) for _ in range(number)]
        key = next(iter(self.redeemer.settings.keys["CODE_DIGEST_KEY"].values()))
        lines = [
            {"cheque_id": one.id, "digest": cheque_code.digest(one.code, key).hex(), "value_cents": 1000}
            for one in made
        ]
        dates = {"granted_on": day(-30), "valid_until": day(30), "presentable_until": day(60)}
        return made, {"grant_id": new_id(), "programme": programme, "cheques": lines} | dates | changes

    def reported(self, cheque: Cheque, report_id: UUID | None = None) -> dict[str, Any]:
        """The news that a cheque was spent at the operator's own till."""
        return {
            "report_id": report_id or new_id(),
            "contract_id": self.contract,
            "cheque_id": cheque.id,
            "structure_id": self.structure,
            "amount_cents": 1000,
            "redeemed_at": clock.now(),
        }

    def tell_contract(self, contract_id: UUID, programme: str = PROGRAMME, state: str = "live") -> None:
        """Tells of a contract for a programme."""
        names = {"contract_id": contract_id, "code": f"contract-{contract_id}", "operator": "somebody"}
        self.tell(
            "contract.changed",
            names | {"programme": programme, "state": state, "starts_on": day(-100), "ends_on": None},
        )

    def add_structure(self, name: str = "s1", postcode: str = "47000", insee_code: str = "47001") -> UUID:
        """Imports a structure."""
        line = f"{name},82854918800021,Campus {name},Agen,{postcode},{insee_code},1 rue du Pont,2026-01-05"
        self.post("/v1/structures/imports", "admin", f"{COLUMNS}\n{line}\n".encode())
        query = sa.text("SELECT id FROM structure WHERE source_id = :name")
        with self.redeemer.runtime.engine.connect() as connection:
            found: UUID = connection.execute(query, {"name": name}).scalar_one()
        return found

    def affiliate(self, structure: UUID, contract: UUID, starts_on: date, ends_on: date | None = None) -> TestResponse:
        """Affiliates a structure."""
        body = {"structure_id": str(structure), "contract_id": str(contract), "starts_on": starts_on.isoformat()}
        return self.post("/v1/affiliations", "admin", body | ({"ends_on": ends_on.isoformat()} if ends_on else {}))

    def affiliated(self, name: str) -> UUID:
        """A new structure that is affiliated to the contract."""
        structure = self.add_structure(name)
        assert self.affiliate(structure, self.contract, day(-50)).status_code == 201
        return structure

    def present(
        self, codes: Sequence[str], *, key: str = "", structure: UUID | None = None, **said: Any
    ) -> TestResponse:
        """Presents codes at a till, of the first structure if none is given, with a fresh key if none is given."""
        headers = self.redeemer.headers("structure", structure or self.structure, key=key or str(new_id()))
        body = {"codes": list(codes), **{name: str(value) for name, value in said.items()}}
        return self.redeemer.app.test_client().post("/v1/redemptions", json=body, headers=headers)

    def check(self, code: str, *, structure: UUID | None = None, **said: Any) -> TestResponse:
        """Checks a code at a till."""
        return self.post("/v1/checks", "structure", {"code": code, **said}, structure or self.structure)

    def reverse(self, redemption_id: UUID | str, structure: UUID | None = None) -> TestResponse:
        """Takes a redemption back."""
        path = f"/v1/redemptions/{redemption_id}/reversal"
        return self.post(path, "structure", {"reason": "mistake"}, structure or self.structure)

    def post(self, path: str, role: str, body: Any = None, scope: UUID | None = None) -> TestResponse:
        """A request of somebody."""
        headers = self.redeemer.headers(role, scope)
        client = self.redeemer.app.test_client()
        if isinstance(body, bytes):
            return client.post(path, data=body, headers=headers, content_type="text/csv")
        return client.post(path, json=body, headers=headers)

    def get(self, path: str, role: str = "admin", scope: UUID | None = None) -> TestResponse:
        """What somebody sees."""
        return self.redeemer.app.test_client().get(path, headers=self.redeemer.headers(role, scope))

    def state(self, cheque: Cheque) -> str:
        """How a cheque stands."""
        return str(self.rows("SELECT state FROM cheque WHERE id = :id", id=cheque.id)[0].state)

    def rows(self, query: str, **values: Any) -> Sequence[Any]:
        """What a query finds."""
        with self.redeemer.runtime.engine.connect() as connection:
            return connection.execute(sa.text(query), values).all()

    def told(self, *kinds: str) -> list[dict[str, Any]]:
        """The bodies of the events of some kinds, each as a reader loads it, in their order."""
        found = self.rows("SELECT kind, body FROM event WHERE kind = ANY(:kinds) ORDER BY sequence", kinds=list(kinds))
        loaded = [event_kinds.load(row.kind, row.body) for row in found]
        bodies = [msgspec.to_builtins(body, builtin_types=(UUID, date, datetime)) for body in loaded]
        return [{name: value for name, value in body.items() if name != "type"} for body in bodies]


@pytest.fixture
def till(redeemer: ServiceUnderTest) -> Till:
    """A redeemer with a contract, and a structure that is affiliated to it since 50 days ago."""
    made = Till(redeemer)
    made.tell_contract(made.contract)
    made.structure = made.affiliated("s1")
    return made


@pytest.fixture
def refusals() -> Callable[[TestResponse], list[tuple[int, str]]]:
    """Index and reason of each refusal in an answer."""

    def read(answer: TestResponse) -> list[tuple[int, str]]:
        body = answer.get_json()
        assert (answer.status_code, body["type"]) == (409, "urn:souche:redemption-refused"), body
        return [(refusal["index"], refusal["reason"]) for refusal in body["refusals"]]

    return read
