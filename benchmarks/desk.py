"""An issuer with money, a programme and a prescriber, asked over HTTP."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import requests

from benchmarks.load import post
from benchmarks.machine import Machine

SERVICE = "issuer"
CHEQUES = 5
_PLACES = "id,pivot,nom,commune,code_postal,adresse,date_maj\nccas,00000000000000,CCAS,Agen,47000,1 rue,2026-01-15\n"
ORDER = {"programme": "pass", "amount_cents": CHEQUES * 1000, "reason": "Stated."}


class Refused(Exception):
    """The issuer did not do what the benchmark stands on; the text is its answer."""


@dataclass
class Desk:
    """Where grants are asked for."""

    machine: Machine
    port: int
    prescriber: UUID = field(init=False)

    def __post_init__(self) -> None:
        programme = {"code": "pass", "name": "Pass", "validity": {"months": 12}}
        money = {"programme": "pass", "funder": "État", "convention_reference": "1", "amount_cents": 10**12}
        self.ask("POST", "/v1/programmes", json=programme)
        self.ask("POST", "/v1/envelopes", json=money | {"starts_on": "2020-01-01", "ends_on": "2100-01-01"})
        self.ask("POST", "/v1/prescribers/imports", data=_PLACES, headers={"Content-Type": "text/csv"})
        self.prescriber = UUID(self.ask("GET", "/v1/prescribers")["items"][0]["prescriber_id"])

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> Any:
        """An answer to the département's team; raises Refused."""
        headers = {"Authorization": self.machine.token("admin"), "Idempotency-Key": str(uuid4()), **(headers or {})}
        answer = requests.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=300, **options
        )
        if not answer.ok:
            raise Refused(answer.text)
        return answer.json()

    def headers(self) -> dict[str, str]:
        """Those of a grant: the prescriber's token, and a key of its own."""
        return {"Authorization": self.machine.token("prescriber", self.prescriber), "Idempotency-Key": str(uuid4())}

    def grants(self, number: int) -> list[bytes]:
        """So many requests for a grant of five cheques."""
        body, headers = json.dumps(ORDER).encode(), self.headers()
        return [post("/v1/grants", body, headers | {"Idempotency-Key": str(uuid4())}) for _ in range(number)]
