"""Whatever goes wrong with one message or line, those behind it are applied, and it is kept to be seen."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from demo.simulators import docaposte
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.inbound import applying, put_aside, statement_polling, webhook_inbox
from services.operator_bridge.interface import (
    Event,
    Line,
    Operator,
    OperatorFailure,
    Period,
    Redeemed,
    UnknownLine,
    Unreadable,
)
from services.operator_bridge.register.models import Message
from shared.problems import Unavailable
from shared.process.runtime import TimeIsUp
from shared.values import cheque_code, clock
from shared.values.ids import new_id
from tests.operator_bridge.conftest import Office

CODE = cheque_code.generate()


def raising(error: BaseException) -> Callable[[Session], None]:
    def fail(_: Session) -> None:
        raise error

    return fail


def running(statement: str) -> Callable[[Session], None]:
    def fail(session: Session) -> None:
        session.execute(sa.text(statement))

    return fail


UNEXPECTED: dict[str, Callable[[Session], None]] = {
    "a key": raising(KeyError("Amélie Martin")),
    "a text": raising(ValueError(f"no reading of {CODE}\nand a second line")),
    "half a character": raising(RuntimeError("\ud800\x00")),
    "our own check": raising(AssertionError()),
    "no memory": raising(MemoryError()),
    "a value": running("SELECT CAST('Amélie Martin' AS uuid)"),
    "a division": running("SELECT 1 / 0"),
    "a constraint": running("INSERT INTO payment (operator, reference) VALUES ('a', 'b')"),
    "an index": running(
        "INSERT INTO payment (operator, reference, payment_reference, paid_on)"
        " SELECT 'a', string_agg(md5(CAST(n AS text)), ''), 'c', '2026-01-01' FROM generate_series(1, 300) n"
    ),
}


def store(office: Office, reference: str) -> None:
    """A message that was verified."""
    data = {
        "reference": reference, "cheque": str(new_id()), "structure": str(new_id()), "amount_cents": 1000,
        "redeemed_at": "2026-11-01T10:00:00Z",
    }  # fmt: skip
    body = json.dumps({"type": "redemption.made", "data": data}).encode()
    with office.bridge.runtime.transaction() as session:
        session.add(Message(operator=docaposte.CODE, webhook_id=reference, headers={}, body=body))


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Session], None]]:
    """What happens instead where an event of a reference is applied."""
    faults: dict[str, Callable[[Session], None]] = {}
    apply = applying.apply

    def spoilt(session: Session, operator: str, events: list[Event]) -> None:
        apply(session, operator, events)
        for event in events:
            if isinstance(event, Redeemed) and event.reference in faults:
                faults[event.reference](session)

    monkeypatch.setattr(applying, "apply", spoilt)
    return faults


def found(office: Office, columns: str, where: str) -> Any:
    return office.rows(f"SELECT {columns} FROM message WHERE {where} ORDER BY message_id")


@pytest.mark.parametrize("fault", UNEXPECTED.values(), ids=UNEXPECTED)
@pytest.mark.parametrize("bad", [{"m-0"}, {"m-3", "m-4"}, {f"m-{number}" for number in range(9)}])
def test_a_message_that_cannot_be_applied_is_put_aside_alone(
    office: Office, applied: dict[str, Callable[[Session], None]], fault: Callable[[Session], None], bad: set[str]
) -> None:
    for number in range(9):
        store(office, f"m-{number}")
    applied |= dict.fromkeys(bad, fault)
    office.apply()
    aside = found(office, "webhook_id, error", "error IS NOT NULL AND applied_at IS NULL")
    assert {message.webhook_id for message in aside} == bad
    for message in aside:
        assert message.error.startswith("It cannot be applied: ")
        for kept_out in (CODE, "Amélie", "Martin", "\n"):
            assert kept_out not in message.error
    assert len(found(office, "1", "applied_at IS NOT NULL")) == 9 - len(bad)
    assert office.rows("SELECT count(*) FROM discrepancy WHERE kind = 'unknown_here'") == [(9 - len(bad),)]
    assert office.apply() == 0


@pytest.mark.parametrize(
    "failure",
    [TimeIsUp(), OperationalError("", {}, psycopg.OperationalError("the connection is lost"))],
    ids=["time is up", "the database is away"],
)
def test_what_says_nothing_about_the_message_puts_none_aside(
    office: Office, applied: dict[str, Callable[[Session], None]], failure: Exception
) -> None:
    store(office, "m-0")
    applied["m-0"] = raising(failure)
    with pytest.raises(type(failure)):
        office.apply()
    assert len(found(office, "1", "applied_at IS NULL AND error IS NULL")) == 1
    applied.clear()
    office.apply()
    assert len(found(office, "1", "applied_at IS NOT NULL")) == 1


def test_a_message_that_takes_the_database_too_long_is_tried_again_and_holds_up_no_other(
    office: Office, applied: dict[str, Callable[[Session], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_inbox, "_BATCH_SIZE", 2)
    monkeypatch.setattr(webhook_inbox, "_WAITING", webhook_inbox._WAITING.limit(2))
    for number in range(5):
        store(office, f"m-{number}")
    applied["m-0"] = running("SET LOCAL statement_timeout = '5ms'; SELECT pg_sleep(1)")
    office.apply()
    assert found(office, "webhook_id", "applied_at IS NULL AND error IS NULL") == [("m-0",)]
    applied.clear()
    assert office.apply() == 1


class Statement(Operator):
    """An operator whose statement is what a test says, and then perhaps a failure."""

    def __init__(self, lines: list[Line], failure: OperatorFailure | None = None) -> None:
        super().__init__({})
        self.lines, self.failure = lines, failure

    def fetch(self, period: Period) -> Any:
        yield from self.lines
        if self.failure:
            raise self.failure


def lines(number: int) -> list[Line]:
    return [Redeemed(f"l-{at}", new_id(), new_id(), 1000, clock.now()) for at in range(number)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_what_came_of_a_statement_before_it_broke_off_is_there(size: int) -> None:
    said, read = lines(7), list[Line]()
    with pytest.raises(Unavailable):
        read_to_its_end(Statement(said, Unreadable("line 8")), size, read)
    assert read == said
    read.clear()
    read_to_its_end(Statement(said), size, read)
    assert read == said


def read_to_its_end(operator: Operator, size: int, read: list[Line]) -> None:
    for part in statement_polling.parts(operator, Period("contract"), size):
        read += part


@pytest.mark.parametrize("fault", UNEXPECTED.values(), ids=UNEXPECTED)
def test_a_line_that_cannot_be_applied_is_kept_once_and_the_statement_is_read_to_its_end(
    office: Office,
    applied: dict[str, Callable[[Session], None]],
    fault: Callable[[Session], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contract, said = office.contract(), lines(9)
    monkeypatch.setattr(lookup, "connect", lambda *_: Statement(said))
    applied["l-4"] = fault
    for _ in range(2):
        statement_polling.poll(office.bridge.runtime, contract)
    (kept,) = found(office, "operator, body, error, applied_at", "true")
    assert (kept.operator, kept.applied_at) == (docaposte.CODE, None)
    assert kept.error.startswith("It cannot be applied: ")
    assert b"l-4" in kept.body
    assert office.rows("SELECT count(*) FROM discrepancy WHERE kind = 'unknown_here'") == [(8,)]
    assert office.rows("SELECT polled_at IS NOT NULL FROM contract") == [(True,)]


def test_lines_of_an_unknown_kind_are_kept_by_their_first_and_hold_up_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = office.contract()
    unknown = [UnknownLine("payment.returned", json.dumps({"of": CODE, "number": number})) for number in range(3)]
    said = [*unknown, UnknownLine("fee", "{}"), *lines(3)]
    monkeypatch.setattr(lookup, "connect", lambda *_: Statement(said))
    for _ in range(2):
        statement_polling.poll(office.bridge.runtime, contract)
    kept = found(office, "webhook_id, body, error", "applied_at IS NULL")
    assert {message.webhook_id for message in kept} == {
        "statement:contract:payment.returned",
        "statement:contract:fee",
    }
    assert all("does not know" in message.error for message in kept)
    assert CODE.encode() not in b"".join(message.body for message in kept)
    assert office.apply() == 0
    assert office.rows("SELECT count(*) FROM discrepancy") == [(3,)]


def test_an_error_is_described_by_its_class_and_first_line() -> None:
    assert put_aside.describe(ValueError("one\ntwo")) == "It cannot be applied: ValueError: one"
    assert put_aside.describe(Unreadable("Redeemed: cheque: missing.")) == "Redeemed: cheque: missing."
    assert len(put_aside.describe(ValueError("x" * 5000))) == 300


def test_nothing_is_applied_of_nothing() -> None:
    put_aside.apply_each(list[UUID](), raising_if_called, raising_if_called)


def raising_if_called(*_: object) -> None:
    raise AssertionError
