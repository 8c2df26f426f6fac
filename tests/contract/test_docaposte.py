"""The assumed contract with the operator over HTTP, in recorded payloads: what is sent, answered, stated and told."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from demo.simulators import serving
from demo.simulators.docaposte import Account
from demo.simulators.docaposte_register import Register
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.interface import (
    ChequeStatus,
    Line,
    Operator,
    OperatorUnavailable,
    Order,
    Paid,
    Period,
    Receipt,
    Redeemed,
    UnknownLine,
    Unreadable,
)

RECORDED = Path(__file__).parent / "docaposte"
CONTRACT = "pass-47"
CHEQUE = UUID("0198f0a0-0000-7000-8000-000000000001")
STRUCTURE = UUID("0198f0b0-0000-7000-8000-000000000001")
AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def reference(number: int) -> str:
    return f"0198f0c0-0000-7000-8000-{number:012}"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


@dataclass
class Recording:
    """A server that answers as it was recorded, and keeps what it was asked."""

    asked: list[tuple[str, Any]] = field(default_factory=list)
    token: Any = field(default_factory=lambda: recorded("token"))
    more: Mapping[str, list[Any]] = field(default_factory=dict)
    """Lines, and results, that are said before those that were recorded."""

    def app(self) -> Flask:
        app = Flask("recording")

        @app.post("/oauth/token")
        def token() -> ResponseReturnValue:
            return jsonify(self.token)

        @app.route("/<path:path>", methods=["GET", "POST"])
        def answer(path: str) -> ResponseReturnValue:
            self.asked.append((path, request.get_json(silent=True) or request.args.to_dict()))
            page = "-2" if request.args.get("cursor") else ""
            answer = recorded(path.replace("v1/", "").replace("/", "-") + page)
            return jsonify(
                answer | {name: [*more, *answer[name]] for name, more in self.more.items() if name in answer}
            )

        return app


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
def operator(recording: Recording) -> Iterator[Operator]:
    with serving.serving(recording.app()) as url:
        yield lookup.connect("docaposte", Account.generate().settings(url))


def orders() -> list[Order]:
    """One of each kind, all about one cheque."""
    cheque: dict[str, Any] = {"contract": CONTRACT, "cheque_id": CHEQUE, "amount_cents": 1000}
    structure: dict[str, Any] = {"contract": CONTRACT, "structure_id": STRUCTURE}
    last = date(2026, 12, 31)
    return [
        Order(reference(1), "register", code="7K3M-2Q9P-XW4T-8HJN-C", valid_until=last, **cheque),
        Order(reference(2), "activate", valid_until=last, payment_order="M-2026-17", **cheque),
        Order(reference(3), "affiliate", siret="35600000000048", name="EPN d'Agen", starts_on=date(2026, 1, 1),
              **structure),
        Order(reference(4), "block", reason="lost", **cheque),
        Order(reference(5), "unblock", reason="found", **cheque),
        Order(reference(6), "declare", structure_id=STRUCTURE, redeemed_at=AT, **cheque),
        Order(reference(7), "reverse", structure_id=STRUCTURE, redemption=reference(6), reason="by mistake", **cheque),
        Order(reference(8), "cancel", reason="expired", **cheque),
        Order(reference(9), "suspend", reason="closed", **structure),
    ]  # fmt: skip


def test_orders_are_written_as_agreed(operator: Operator, recording: Recording) -> None:
    receipts = list(operator.push(orders()))
    assert recording.asked == [("v1/operations", recorded("operations-asked"))]
    assert receipts == [
        Receipt(reference(1), "accepted"),
        Receipt(reference(2), "refused", "unknown-cheque"),
        Receipt(reference(3), "accepted"),
        Receipt(reference(4), "refused", "already-redeemed"),
    ]


@pytest.mark.parametrize("token", [{}, [], None, "token", {"access_token": "a", "expires_in": "soon"}])
def test_a_token_without_sense_is_an_operator_that_is_not_there(
    operator: Operator, recording: Recording, token: Any
) -> None:
    recording.token = token
    with pytest.raises(OperatorUnavailable, match="no token"):
        list(operator.push(orders()))


def test_what_is_asked_again_and_the_pages_of_the_statement_are_read_as_agreed(
    operator: Operator, recording: Recording
) -> None:
    unsettled = [Order(reference(number), "register", CONTRACT) for number in (1, 2, 10)]
    lines = list(operator.fetch(Period(CONTRACT, AT, unsettled=unsettled)))
    query = {"contract": CONTRACT, "since": "2026-03-02T09:30:00+00:00"}
    assert recording.asked == [
        ("v1/operations/status", recorded("operations-status-asked")),
        ("v1/statement", {**query, "cursor": ""}),
        ("v1/statement", {**query, "cursor": "cheques:0"}),
    ]
    assert lines == [
        Receipt(reference(1), "accepted"),
        Receipt(reference(2), "refused", "unknown-cheque"),
        Receipt(reference(1), "accepted"),
        Redeemed("TILL-00000042", CHEQUE, STRUCTURE, 1000, AT),
        Paid("VIR-000007", date(2026, 3, 31), ("TILL-00000042", reference(6))),
        ChequeStatus(CHEQUE, "redeemed", 1000, 1000),
    ]


UNFIT = [
    {},
    None,
    "redemption",
    {"type": 7},
    {"type": "redemption", "reference": "TILL-1", "cheque": str(CHEQUE), "structure": str(STRUCTURE),
     "amount_cents": 1000, "redeemed_at": "2200-06-01T10:00:00Z"},
    {"type": "payment", "payment_reference": "é" * 501, "paid_on": "2026-03-31", "redemptions": []},
    {"type": "operation", "reference": reference(1), "outcome": "lost"},
]  # fmt: skip


@pytest.mark.parametrize("unfit", UNFIT, ids=map(str, range(len(UNFIT))))
def test_a_line_that_cannot_be_read_hides_no_other_and_is_told_at_the_end(
    operator: Operator, recording: Recording, unfit: Any
) -> None:
    whole = list(operator.fetch(Period(CONTRACT)))
    recording.more = {"lines": [unfit]}
    read: list[Line] = []
    with pytest.raises(Unreadable, match=r"\(lines: 2\)$"):  # one on each of two pages
        read_to_its_end(operator, read)
    assert read == whole


def read_to_its_end(operator: Operator, lines: list[Line]) -> None:
    """Adds each line as it is read, so that those before a failure are there too."""
    for line in operator.fetch(Period(CONTRACT)):
        lines.append(line)


def test_a_line_of_an_unknown_kind_is_told_of_and_hides_no_other(operator: Operator, recording: Recording) -> None:
    whole = list(operator.fetch(Period(CONTRACT)))
    recording.more = {"lines": [{"type": "payment.returned", "payment_reference": "VIR-000007"}]}
    lines = list(operator.fetch(Period(CONTRACT)))
    assert [line for line in lines if not isinstance(line, UnknownLine)] == whole
    assert {(line.kind, "VIR-000007" in line.content) for line in lines if isinstance(line, UnknownLine)} == {
        ("payment.returned", True)
    }


def test_a_result_that_cannot_be_read_is_the_outcome_of_its_order_alone(
    operator: Operator, recording: Recording
) -> None:
    whole = list(operator.push(orders()))
    recording.more = {"results": [{"reference": reference(5), "outcome": "perhaps"}]}
    assert list(operator.push(orders())) == whole


def test_messages_are_read_as_agreed(operator: Operator) -> None:
    said = [operator.read((RECORDED / f"{name}.json").read_bytes()) for name in ("redemption.made", "payment.made")]
    assert [type(event) for (event,) in said] == [Redeemed, Paid]


def test_the_simulator_keeps_to_what_is_recorded() -> None:
    register = Register()
    asked = recorded("operations-asked")["operations"]
    results = register.work_off(asked)
    assert {result["outcome"] for result in results} == {"accepted"}
    shapes = {frozenset(result) for result in register.work_off([*asked, _stranger(asked)])}
    assert shapes == {frozenset(result) for result in recorded("operations")["results"]}
    given = register.statement(CONTRACT, "", "")["lines"] + register.statement(CONTRACT, "", "cheques:0")["lines"]
    agreed = {line["type"]: set(line) for page in ("statement", "statement-2") for line in recorded(page)["lines"]}
    assert all(set(line) == agreed[line["type"]] for line in given)


def _stranger(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """An operation about a cheque that the operator never saw."""
    return {**asked[-2], "reference": reference(99), "cheque": reference(99)}
