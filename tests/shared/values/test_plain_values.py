"""Texts, amounts and days as every service has them."""

from datetime import UTC, date, datetime

import pytest
from marshmallow import ValidationError

from shared.values import cheque_code, clock, money, text_rules


@pytest.mark.parametrize("value", ["Vu.", "L’été à Agen", "a" * 1000])
def test_a_line_that_says_something_is_fit(value: str) -> None:
    text_rules.check_line(value)
    text_rules.check_lines(f"{value}\r\n\t{value}")


@pytest.mark.parametrize("value", ["", "  ", "a\0b", "a\x1bb", "a\x7f", "a\ud800", "voir CODE"])
def test_a_text_that_says_nothing_or_what_is_not_kept_is_refused(value: str) -> None:
    value = value.replace("CODE", cheque_code.printed(cheque_code.generate()))
    for check in (text_rules.check_line, text_rules.check_lines):
        with pytest.raises(ValidationError):
            check(value)


@pytest.mark.parametrize("value", ["a\nb", "a\tb", "a\n"])
def test_a_line_has_no_line_break_and_no_tab(value: str) -> None:
    with pytest.raises(ValidationError):
        text_rules.check_line(value)


@pytest.mark.parametrize(("cents", "text"), [(0, "0.00"), (5, "0.05"), (1050, "10.50"), (-105, "-1.05")])
def test_an_amount_has_two_decimals_and_its_sign(cents: int, text: str) -> None:
    assert money.decimal(cents) == text
    assert money.euros(cents) == f"{text} EUR"


def test_the_day_of_an_instant_is_the_one_in_paris() -> None:
    assert clock.day_of(datetime(2026, 6, 30, 22, 0, tzinfo=UTC)) == date(2026, 7, 1)
    assert clock.day_of(datetime(2026, 12, 31, 22, 59, tzinfo=UTC)) == date(2026, 12, 31)
