"""Checking a cheque: says what presenting it would come to, and changes nothing."""

from typing import Any

from shared.values import cheque_code
from tests.redeemer.conftest import ANYTHING, PROGRAMME, Till, day


def test_a_good_cheque_is_redeemable(till: Till) -> None:
    [cheque] = till.issue()

    answer = till.check(cheque_code.printed(cheque.code).lower())

    assert answer.get_json() == {
        "redeemable": True,
        "reason": None,
        "detail": None,
        "value_cents": 1000,
        "valid_until": day(30).isoformat(),
        "programme": PROGRAMME,
    }


def test_checking_leaves_the_cheque_untouched(till: Till) -> None:
    [cheque] = till.issue()
    before = till.rows("SELECT xmin, xmax, * FROM cheque")

    till.check(cheque.code)

    assert till.rows("SELECT xmin, xmax, * FROM cheque") == before
    assert till.state(cheque) == "spendable"


def test_a_spent_cheque_says_when_and_not_where(till: Till) -> None:
    [cheque] = till.issue()
    redeemed = till.present([cheque.code]).get_json()

    answer = till.check(cheque.code, structure=till.affiliated("s2"))

    assert (answer.get_json()["reason"], answer.get_json()["redeemed_at"]) == (
        "already-redeemed",
        redeemed["redeemed_at"],
    )
    assert str(till.structure) not in answer.text


def test_a_typing_error_is_told_from_an_unknown_code(till: Till) -> None:
    unknown, mistyped = till.check(cheque_code.generate()).get_json(), till.check("ABC").get_json()

    assert unknown["reason"] == mistyped["reason"] == "unknown-code"
    assert "typing error" in mistyped["detail"]
    assert "typing error" not in unknown["detail"]
    assert unknown["value_cents"] is None


def test_a_check_says_what_the_redemption_would_be_told(till: Till) -> None:
    [cheque] = till.issue(programme={**ANYTHING, "services": ["Bases"]}, valid_until=day(-3))
    said: dict[str, Any] = {"given_on": day(-4).isoformat(), "service": "bases"}

    assert till.check(cheque.code).get_json()["reason"] == "expired"
    assert till.check(cheque.code, given_on=said["given_on"]).get_json()["reason"] == "service-not-covered"
    assert till.check(cheque.code, **said).get_json()["redeemable"]
    assert till.present([cheque.code], **said).status_code == 201
