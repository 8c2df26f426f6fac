"""Reading an operator's objects: what is taken of each member, and what is refused by its name."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.operator_bridge.adapter_kit import mapping
from services.operator_bridge.interface import ChequeStatus, Paid, Receipt, Redeemed, Unreadable
from shared.eventlog import event_kinds
from shared.values import clock

CHEQUE = UUID("0198f0c0-0000-7000-8000-000000000001")
STRUCTURE = UUID("0198f0c0-0000-7000-8000-000000000002")
RECEIPT = {"reference": "r", "outcome": "accepted"}
REDEEMED = {
    "reference": "TILL-1", "cheque": str(CHEQUE), "structure_id": str(STRUCTURE), "amount_cents": 1000,
    "redeemed_at": "2026-03-31T10:00:00Z",
}  # fmt: skip
PAID = {"payment_reference": "VIR-1", "paid_on": "2026-03-31", "redemptions": ["a", "b"]}
STANDING = {"cheque_id": str(CHEQUE), "status": "registered", "value_cents": 1000}

receipt, paid, standing = mapping.reader(Receipt), mapping.reader(Paid), mapping.reader(ChequeStatus)
redeemed = mapping.reader(Redeemed, cheque_id="cheque")


def test_members_are_read_as_what_they_are_and_others_are_passed_over() -> None:
    assert receipt({**RECEIPT, "reason": "", "number": None, "more": {}}) == Receipt("r", "accepted", "")
    instant = datetime(2026, 3, 31, 10, tzinfo=UTC)
    assert redeemed(REDEEMED) == Redeemed("TILL-1", CHEQUE, STRUCTURE, 1000, instant)
    assert paid(PAID) == Paid("VIR-1", date(2026, 3, 31), ("a", "b"))
    assert standing(STANDING) == ChequeStatus(CHEQUE, "registered", 1000)


@given(
    instant=st.datetimes(datetime(1990, 1, 1), datetime(2210, 1, 1))
    | st.sampled_from([clock.EARLIEST, clock.LATEST]).flatmap(
        lambda edge: st.timedeltas(timedelta(days=-2), timedelta(days=2)).map(
            lambda distance: (edge + distance).replace(tzinfo=None)
        )
    ),
    minutes=st.integers(-23 * 60, 23 * 60),
)
def test_what_is_read_of_an_operator_can_be_published_to_every_service(instant: datetime, minutes: int) -> None:
    said = instant.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat()
    try:
        found = redeemed({**REDEEMED, "redeemed_at": said})
    except Unreadable:
        return
    assert found.redeemed_at.utcoffset() == timedelta(0)
    members = {name: getattr(found, name) for name in ("cheque_id", "structure_id", "amount_cents", "redeemed_at")}
    event_kinds.load("redemption.reported", {**members, "report_id": CHEQUE, "contract_id": STRUCTURE})


NOT_TAKEN: list[tuple[Any, dict[str, Any], str, list[Any]]] = [
    (receipt, RECEIPT, "reference", [None, 1, "", "x" * 501, "a\0b", "\ud800", ["r"]]),
    (receipt, RECEIPT, "outcome", [None, "", "Accepted", "lost", 1, ["accepted"], {}]),
    (receipt, RECEIPT, "reason", [1, "x" * 501, "\x1b[2J", []]),
    (redeemed, REDEEMED, "cheque", [None, "", 7, "x" * 36, [], {}, True]),
    (redeemed, REDEEMED, "amount_cents", [None, "1000", 10.0, True, -1, 10**9 + 1, []]),
    (redeemed, REDEEMED, "redeemed_at", [None, 0, "", "2026-03-31T10:00:00", "1999-12-31T10:00:00Z", "soon"]),
    (redeemed, REDEEMED, "redeemed_at", ["2200-01-01T00:00:01Z", "2200-06-15T12:00:00+02:00", "9999-12-31T23:59:59Z"]),
    (redeemed, REDEEMED, "redeemed_at", ["2000-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00", "2026-03-31"]),
    (paid, PAID, "paid_on", [None, 20260331, "31/03/2026", "1999-12-31", "2200-01-02", "2201-01-01", []]),
    (paid, PAID, "redemptions", [None, "ab", {"a": 1}, [1], [""], [None], ["a\n"]]),
    (standing, STANDING, "status", [None, "stolen", 0]),
]


@pytest.mark.parametrize(("read", "whole", "member", "values"), NOT_TAKEN)
def test_a_member_of_another_kind_is_unreadable_and_named(
    read: Any, whole: dict[str, Any], member: str, values: list[Any]
) -> None:
    for value in values:
        with pytest.raises(Unreadable, match=rf"^\w+: {member}: "):
            read({**whole, member: value})


@pytest.mark.parametrize(("read", "whole"), [(receipt, RECEIPT), (redeemed, REDEEMED), (paid, PAID)])
def test_a_member_that_is_missing_is_named(read: Any, whole: dict[str, Any]) -> None:
    for member in whole:
        with pytest.raises(Unreadable, match=rf"^\w+: {member}: missing"):
            read({name: value for name, value in whole.items() if name != member})


@pytest.mark.parametrize("given", [None, [], "r", 1, [["reference", "r"]]])
def test_what_is_no_object_is_unreadable(given: Any) -> None:
    with pytest.raises(Unreadable):
        receipt(given)


def test_what_is_unreadable_is_not_repeated() -> None:
    for member in REDEEMED:
        with pytest.raises(Unreadable) as caught:
            redeemed({**REDEEMED, member: "7K3M-9QXC-2V8D-4T6R-W\0"})
        assert "7K3M" not in str(caught.value)
