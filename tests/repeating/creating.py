"""For every route that takes an Idempotency-Key, requests that are good: as many as are asked for, each another one."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from werkzeug.test import TestResponse

from demo.simulators.aptic import CODE as APTIC
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.issuer import office as issuing
from tests.operator_bridge.conftest import Office as Bureau
from tests.redeemer.books import LAST_MONTH, Books
from tests.redeemer.conftest import COLUMNS, Till, day


@dataclass(frozen=True)
class Ask:
    """A request that creates something: JSON, or CSV where the body is bytes."""

    path: str
    body: Any = None
    role: str = "admin"
    scope: UUID | None = None

    def send(self, service: ServiceUnderTest, key: str | None, subject: str = "test") -> TestResponse:
        """The answer to it."""
        headers = service.headers(self.role, self.scope, key=key, subject=subject)
        client = service.app.test_client()
        if isinstance(self.body, bytes):
            return client.post(self.path, data=self.body, content_type="text/csv", headers=headers)
        return client.post(self.path, json=self.body or {}, headers=headers)

    def caller(self, subject: str = "test") -> str:
        """Who asks, as kept answers name them."""
        return f"{self.role}:{self.scope or '-'}:{subject}"


Creators = dict[str, Callable[[], Ask]]
_NUMBERS = itertools.count(1)


def _shared() -> Creators:
    """What every service has."""
    return {
        "/v1/oauth/clients": lambda: Ask("/v1/oauth/clients", {"name": f"p{next(_NUMBERS)}", "role": "finance"}),
        "/v1/memberships": lambda: Ask(
            "/v1/memberships", {"provider": "p", "subject": f"s{next(_NUMBERS)}", "role": "finance"}
        ),
        "/v1/revocations": lambda: Ask(
            "/v1/revocations", {"kind": "token", "value": str(new_id()), "reason": f"{next(_NUMBERS)}"}
        ),
    }


def of_issuer(service: ServiceUnderTest) -> Creators:
    """Those of the issuer."""
    office = issuing.Office(service)
    office.programme()
    office.envelope(10_000_000)
    mine: dict[str, Any] = {"role": "prescriber", "scope": office.prescriber}

    def fresh(what: str = "x") -> str:
        return f"{what}-{next(_NUMBERS)}"

    def cheques() -> list[str]:
        return issuing.ids(office.grant())

    def convention() -> dict[str, Any]:
        terms = {"funder": "CAF", "reference": fresh("c"), "amount_cents": 1000}
        return terms | {"starts_on": "2020-01-01", "ends_on": "2100-01-01"}

    def envelope() -> dict[str, Any]:
        terms = {"programme": "pass", "funder": "CAF", "convention_reference": fresh("e"), "amount_cents": 1000}
        return terms | {"starts_on": "2020-01-01", "ends_on": "2100-01-01"}

    def blocked() -> list[str]:
        ids = cheques()[:1]
        office.made(office.post("/v1/blocks", {"cheque_ids": ids, "reason": "?"}), 200)
        return ids

    def lot() -> str:
        code = fresh("lot")
        office.made(office.post("/v1/lots", {"code": code, "name": "Lot", "programme": "pass"}))
        return code

    def agreement() -> Ask:
        code = lot()
        digest = office.made(office.get(f"/v1/lots/{code}/statement", "finance"), 200)["digest"]
        return Ask(f"/v1/lots/{code}/statement", {"digest": digest})

    def order() -> dict[str, Any]:
        return {"programme": "pass", "amount_cents": 5000, "reason": fresh()}

    return _shared() | {
        "/v1/programmes": lambda: Ask("/v1/programmes", {"code": fresh("p"), "name": "P", "validity": {"months": 12}}),
        "/v1/programmes/{code}/rules": lambda: Ask(
            "/v1/programmes/pass/rules", {"assessment": issuing.RULE, "reason": fresh()}
        ),
        "/v1/conventions": lambda: Ask("/v1/conventions", convention()),
        "/v1/conventions/{convention_id}/amendments": lambda: Ask(
            f"/v1/conventions/{office.convention(fresh('c'))}/amendments", {"amount_cents": 200_000, "reason": fresh()}
        ),
        "/v1/envelopes": lambda: Ask("/v1/envelopes", envelope()),
        "/v1/envelopes/{envelope_id}/movements": lambda: Ask(
            f"/v1/envelopes/{office.envelope(1000)}/movements", {"amount_cents": 2000, "reason": fresh()}
        ),
        "/v1/envelopes/{envelope_id}/closing": lambda: Ask(
            f"/v1/envelopes/{office.envelope(1000)}/closing", {"reason": fresh()}
        ),
        "/v1/prescribers/imports": lambda: Ask("/v1/prescribers/imports", issuing.places(fresh("place"))),
        "/v1/grants": lambda: Ask("/v1/grants", order(), **mine),
        "/v1/grants/bulk": lambda: Ask("/v1/grants/bulk", [order(), order()], **mine),
        "/v1/cancellations": lambda: Ask(
            "/v1/cancellations", {"grant_id": office.grant()["grant_id"], "reason": fresh()}, **mine
        ),
        "/v1/blocks": lambda: Ask("/v1/blocks", {"cheque_ids": cheques()[:2], "reason": fresh()}, **mine),
        "/v1/unblocks": lambda: Ask("/v1/unblocks", {"cheque_ids": blocked(), "reason": fresh()}),
        "/v1/lots": lambda: Ask("/v1/lots", {"code": fresh("lot"), "name": "Lot", "programme": "pass"}),
        "/v1/lots/{code}/statement": agreement,
        "/v1/replacements": lambda: Ask(
            "/v1/replacements", {"cheque_ids": cheques()[:1], "reason": fresh(), "cause": "lost"}, **mine
        ),
    }


def of_redeemer(service: ServiceUnderTest) -> Creators:
    """Those of the redeemer."""
    till = Till(service)
    till.tell_contract(till.contract)
    till.structure = till.affiliated("s1")
    books = Books(till)
    mine: dict[str, Any] = {"role": "structure", "scope": till.structure}

    def file() -> bytes:
        line = f"s{next(_NUMBERS) + 1000},82854918800021,Campus,Agen,47000,47001,1 rue du Pont,2026-01-05"
        return f"{COLUMNS}\n{line}\n".encode()

    def affiliation() -> dict[str, Any]:
        structure = till.add_structure(f"a{next(_NUMBERS)}")
        return {"structure_id": str(structure), "contract_id": str(till.contract), "starts_on": day(-3).isoformat()}

    def statement() -> dict[str, Any]:
        structure = till.affiliated(f"b{next(_NUMBERS)}")
        books.spend(1, structure=structure)
        return {"month": f"{LAST_MONTH:%Y-%m}", "structure_id": str(structure)}

    def issued() -> tuple[list[UUID], Any]:
        structure = till.affiliated(f"c{next(_NUMBERS)}")
        spent = books.spend(1, structure=structure)
        return spent, books.issue(structure_id=str(structure))[0]

    def payment() -> bytes:
        return f"statement;amount;paid_on;reference\r\n{issued()[1]['number']};1,00;{day(0)};M1\r\n".encode()

    def paid() -> str:
        assert till.post("/v1/payments/imports", "finance", payment()).status_code == 200
        found: str = till.rows("SELECT id FROM payment ORDER BY id DESC LIMIT 1")[0].id
        return found

    return _shared() | {
        "/v1/payments/{payment_id}/withdrawal": lambda: Ask(
            f"/v1/payments/{paid()}/withdrawal", {"reason": f"r{next(_NUMBERS)}"}, "finance"
        ),
        "/v1/structures/imports": lambda: Ask("/v1/structures/imports", file()),
        "/v1/affiliations": lambda: Ask("/v1/affiliations", affiliation()),
        "/v1/redemptions": lambda: Ask("/v1/redemptions", {"codes": [cheque.code for cheque in till.issue(2)]}, **mine),
        "/v1/statements": lambda: Ask("/v1/statements", statement(), "finance"),
        "/v1/corrections": lambda: Ask(
            "/v1/corrections",
            {"redemption_id": str(issued()[0][0]), "owed_cents": 500, "reason": f"r{next(_NUMBERS)}"},
            "finance",
        ),
        "/v1/payments/imports": lambda: Ask("/v1/payments/imports", payment(), "finance"),
    }


def of_bridge(service: ServiceUnderTest, codes: dict[str, str]) -> Creators:
    """Those of the operator bridge."""
    bureau = Bureau(service, codes)
    known: dict[str, Any] = {"role": "operations"}

    @cache
    def live() -> UUID:
        return bureau.contract()

    def contract(operator: str = "regie") -> UUID:
        """A contract of its own, for a programme of its own."""
        number = next(_NUMBERS)
        bureau.programme = f"programme-{number}"
        try:
            return bureau.contract(operator, code=f"c-{number}")
        finally:
            bureau.programme = "pass-numerique"

    def new_contract() -> dict[str, Any]:
        names = {"code": f"n-{next(_NUMBERS)}", "operator": "regie", "programme": "pass-numerique"}
        return names | {"starts_on": "2026-01-01"}

    def stuck() -> UUID:
        live()
        [cheque] = bureau.issue()
        bureau.execute("UPDATE operator_order SET state = 'refused', reason = '?' WHERE cheque_id = :id", id=cheque)
        bureau.execute("UPDATE link SET state = 'refused', reason = '?' WHERE cheque_id = :id", id=cheque)
        [row] = bureau.rows("SELECT order_id FROM operator_order WHERE cheque_id = :id", id=cheque)
        found: UUID = row.order_id
        return found

    def discrepancy() -> UUID:
        discrepancy_id = new_id()
        bureau.execute(
            "INSERT INTO discrepancy (discrepancy_id, operator, kind, reference, contract_id, ours, theirs)"
            " VALUES (:id, 'docaposte', 'unknown_here', :reference, :contract, '{}', '{}')",
            id=discrepancy_id, contract=live(), reference=str(discrepancy_id),
        )  # fmt: skip
        return discrepancy_id

    def switch() -> dict[str, Any]:
        number = next(_NUMBERS)
        bureau.programme = f"switched-{number}"
        try:
            old = bureau.contract("regie", code=f"old-{number}")
            new = bureau.contract(APTIC, "draft", code=f"new-{number}")
        finally:
            bureau.programme = "pass-numerique"
        return {"from_contract_id": str(old), "to_contract_id": str(new), "mode": "handover"}

    return _shared() | {
        "/v1/contracts": lambda: Ask("/v1/contracts", new_contract(), **known),
        "/v1/contracts/{contract_id}/activations": lambda: Ask(
            f"/v1/contracts/{contract(APTIC)}/activations", {"payment_order": f"M-{next(_NUMBERS)}"}, **known
        ),
        "/v1/contracts/{contract_id}/adoptions": lambda: Ask(f"/v1/contracts/{contract()}/adoptions", **known),
        "/v1/orders/{order_id}/retry": lambda: Ask(f"/v1/orders/{stuck()}/retry", {"note": "again"}, **known),
        "/v1/orders/retries": lambda: Ask("/v1/orders/retries", {"note": f"again {next(_NUMBERS)}"}, **known),
        "/v1/reconciliations": lambda: Ask("/v1/reconciliations", {"contract_id": str(contract())}, **known),
        "/v1/discrepancies/{discrepancy_id}/resolution": lambda: Ask(
            f"/v1/discrepancies/{discrepancy()}/resolution", {"note": f"seen {next(_NUMBERS)}"}, **known
        ),
        "/v1/switches": lambda: Ask("/v1/switches", switch(), **known),
    }
