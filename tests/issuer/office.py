"""Short ways to ask the issuer for things through its API, and to tell it what other services would."""

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from werkzeug.test import TestResponse

from services.issuer.inbox import HANDLERS
from shared.eventlog import event_kinds
from shared.eventlog.consumer import run_handlers
from shared.eventlog.log import Event
from shared.values import clock
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest

PLACE = {
    "pivot": "00000000000000",
    "nom": "CCAS",
    "commune": "Agen",
    "code_postal": "47000",
    "adresse": "1 rue de la Mairie",
    "date_maj": "2026-01-15",
}
RULE: dict[str, Any] = {
    "questions": [
        {"key": "computer", "label": "Has a computer?", "answers": {"yes": 0, "no": 3}},
        {"key": "forms", "label": "Fills in forms online?", "answers": {"alone": 0, "with help": 2, "never": 5}},
    ],
    "amounts": [
        {"from_points": 0, "cents": 0},
        {"from_points": 2, "cents": 5000},
        {"from_points": 6, "cents": 10000},
    ],
}
ALICE = {"family_name": "Zéphyrine-Dùpont", "given_name": "Aliénor", "birth_date": "1961-03-09"}


def places(*source_ids: str, **changes: str) -> bytes:
    """A file of the national schema with one place for each identifier."""
    written = io.StringIO()
    writer = csv.DictWriter(written, ["id", *(PLACE | changes)])
    writer.writeheader()
    writer.writerows({"id": source_id} | PLACE | changes for source_id in source_ids)
    return written.getvalue().encode()


@dataclass
class Office:
    """The issuer and one prescriber of it."""

    service: ServiceUnderTest
    keys: Any = field(default_factory=itertools.count)

    def post(
        self,
        path: str,
        body: Any,
        role: str = "admin",
        scope: UUID | None = None,
        key: str | None = None,
        subject: str = "test",
    ) -> TestResponse:
        """The answer to a POST of JSON, or of CSV where the body is bytes; each is a client of its own."""
        headers = self.service.headers(role, scope, key=key, subject=subject)
        client = self.service.app.test_client()
        if isinstance(body, bytes):
            return client.post(path, data=body, content_type="text/csv", headers=headers)
        return client.post(path, json=body, headers=headers)

    def get(self, path: str, role: str = "admin", scope: UUID | None = None) -> TestResponse:
        """The answer to a GET."""
        return self.service.client.get(path, headers=self.service.headers(role, scope))

    def made(self, answer: TestResponse, status: int = 201) -> Any:
        """The JSON of an answer, which must have this status."""
        assert answer.status_code == status, answer.text
        return answer.json

    def prescriber_named(self, source_id: str) -> UUID:
        """The id of a prescriber, taken in from a file."""
        self.made(self.post("/v1/prescribers/imports", places(source_id)), 200)
        items = self.made(self.get("/v1/prescribers"), 200)["items"]
        return next(UUID(item["prescriber_id"]) for item in items if item["source_id"] == source_id)

    @cached_property
    def prescriber(self) -> UUID:
        """The id of this office's prescriber."""
        return self.prescriber_named("ccas-agen")

    def programme(self, code: str = "pass", **changes: Any) -> Any:
        """A programme of cheques of 10 €."""
        terms = {"code": code, "name": "Pass numérique", "validity": {"months": 12}, "assessment": RULE}
        return self.made(self.post("/v1/programmes", terms | changes))

    def envelope(self, amount_cents: int, programme: str = "pass", **changes: Any) -> str:
        """An envelope that is open to everybody for long; returns its id."""
        terms = {
            "programme": programme,
            "funder": "État",
            "convention_reference": "2026-01",
            "amount_cents": amount_cents,
            "starts_on": "2020-01-01",
            "ends_on": "2100-01-01",
        }
        found: str = self.made(self.post("/v1/envelopes", terms | changes))["envelope_id"]
        return found

    def convention(self, reference: str = "CAF-2026-3", **changes: Any) -> str:
        """A convention of 1 000 € that is open to everybody for long; returns its id."""
        terms = {
            "funder": "CAF",
            "reference": reference,
            "amount_cents": 100_000,
            "starts_on": "2020-01-01",
            "ends_on": "2100-01-01",
        }
        found: str = self.made(self.post("/v1/conventions", terms | changes))["convention_id"]
        return found

    def under(self, convention_id: str, amount_cents: int, programme: str = "pass", **changes: Any) -> str:
        """An envelope under a convention; returns its id."""
        terms = {"programme": programme, "convention_id": convention_id, "amount_cents": amount_cents}
        found: str = self.made(self.post("/v1/envelopes", terms | changes))["envelope_id"]
        return found

    def report(self, **asked: Any) -> Any:
        """The report of the conventions, as of today or as asked."""
        query = "&".join(f"{name}={value}" for name, value in asked.items())
        return self.made(self.get(f"/v1/reports/conventions?{query}", "finance"), 200)

    def ask(self, *, scope: UUID | None = None, key: str | None = None, **order: Any) -> TestResponse:
        """The answer to a grant of 50 €, or as `order` says."""
        body = {"programme": "pass"} | order
        if "answers" not in order:
            body = {"amount_cents": 5000, "reason": "Stated by the desk."} | body
        key = key or f"key-{next(self.keys)}"
        return self.post("/v1/grants", body, "prescriber", scope or self.prescriber, key)

    def grant(self, **order: Any) -> Any:
        """A grant that is made."""
        return self.made(self.ask(**order))

    def engaged(self) -> list[int]:
        """What is engaged in each envelope, oldest first."""
        return [envelope["engaged_cents"] for envelope in self.made(self.get("/v1/envelopes"), 200)["items"]]

    def states(self, grant: Mapping[str, Any]) -> list[str]:
        """The mirror states of a grant's cheques."""
        shown = self.made(self.get(f"/v1/grants/{grant['grant_id']}"), 200)
        return [cheque["state"] for cheque in shown["cheques"]]

    def tell(self, *told: tuple[str, Mapping[str, Any]]) -> None:
        """Applies events of other services, in one transaction."""
        with self.service.runtime.transaction() as session:
            run_handlers(session, news(*told), HANDLERS)

    def value(self, query: str) -> Any:
        """The one value that a query of the issuer's tables gives."""
        with self.service.runtime.transaction() as session:
            return session.execute(sa.text(query)).scalar_one()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of the issuer's own events of a kind, oldest first."""
        query = sa.text("SELECT body FROM event WHERE kind = :kind ORDER BY sequence")
        with self.service.runtime.transaction() as session:
            return list(session.scalars(query, {"kind": kind}))


def news(*told: tuple[str, Mapping[str, Any]]) -> list[Event[Any]]:
    """Events as a reader gets them, each given as kind and body."""
    return [Event(new_id(), kind, "key", clock.now(), event_kinds.load(kind, body)) for kind, body in told]


def ids(grant: Mapping[str, Any]) -> list[str]:
    """The identifiers of a grant's cheques."""
    return [cheque["cheque_id"] for cheque in grant["cheques"]]


def problem(answer: TestResponse) -> tuple[int, str]:
    """The status and the short name of a refusal."""
    assert answer.content_type == "application/problem+json", answer.text
    assert answer.json is not None
    return answer.status_code, answer.json["type"].removeprefix("urn:souche:")


def told(answer: TestResponse) -> dict[str, Any]:
    """The members of a refusal."""
    assert answer.json is not None
    return dict(answer.json)


def wrong_fields(answer: TestResponse) -> list[str]:
    """The fields that a refusal names."""
    assert answer.json is not None
    errors = answer.json["errors"]
    return list(errors)


def redeemed(cheque_ids: Sequence[str], redemption_ids: Sequence[UUID] | None = None) -> tuple[str, Mapping[str, Any]]:
    """The redeemer's news that cheques were spent, as these redemptions where that matters."""
    by_cheque = zip(cheque_ids, redemption_ids or [new_id() for _ in cheque_ids], strict=True)
    return "cheques.redeemed", {
        "presentation_id": new_id(),
        "structure_id": new_id(),
        "programme": "pass",
        "via": "till",
        "contract_id": None,
        "redeemed_at": clock.now(),
        "given_on": clock.today(),
        "redemptions": [
            {"redemption_id": redemption_id, "cheque_id": cheque_id, "amount_cents": 1000}
            for cheque_id, redemption_id in by_cheque
        ],
    }


def reversed_(cheque_id: str, redemption_id: UUID | None = None) -> tuple[str, Mapping[str, Any]]:
    """The redeemer's news that a redemption was taken back."""
    return "redemption.reversed", {
        "redemption_id": redemption_id or new_id(),
        "cheque_id": cheque_id,
        "structure_id": new_id(),
        "amount_cents": 1000,
        "reason": "Mistake.",
        "reversed_at": clock.now(),
    }


def expired(cheque_ids: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """The redeemer's news that cheques expired."""
    return "cheques.expired", {"cheque_ids": cheque_ids, "expired_at": clock.now()}


def registered(cheque_ids: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """The bridge's news that an operator knows cheques."""
    return "cheques.registered", {"contract_id": new_id(), "cheque_ids": cheque_ids}


def cancelled(cancellation_id: str, cheque_ids: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """The redeemer's news that cheques are cancelled as was asked."""
    return "cheques.cancelled", {
        "cancellation_id": cancellation_id,
        "cheque_ids": cheque_ids,
        "cancelled_at": clock.now(),
    }


def paid(redemption_ids: Sequence[UUID], paid_on: str = "2026-02-03") -> tuple[str, Mapping[str, Any]]:
    """The bridge's news that an operator paid redemptions."""
    return "redemptions.paid", {
        "contract_id": new_id(),
        "payment_reference": "VIR-1",
        "paid_on": date.fromisoformat(paid_on),
        "redemption_ids": redemption_ids,
    }


def unpaid(redemption_ids: Sequence[UUID]) -> tuple[str, Mapping[str, Any]]:
    """The redeemer's news that the accountant's payment of redemptions, `VIR-1`, was withdrawn."""
    kind, body = paid(redemption_ids)
    return kind.replace("paid", "unpaid"), body


def cancellation_refused(cancellation_id: str, cheque_id: str, reason: str) -> tuple[str, Mapping[str, Any]]:
    """The redeemer's news that a cancellation came too late for a cheque."""
    return "cancellation.refused", {
        "cancellation_id": cancellation_id,
        "cheques": [{"cheque_id": cheque_id, "reason": reason}],
    }
