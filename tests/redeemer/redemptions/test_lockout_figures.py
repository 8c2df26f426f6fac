"""The figures of the page on codes: what guessing comes to in a year, computed anew."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.redeemer.redemptions import lockout, redeeming
from services.redeemer.redemptions.models import Guessing
from shared.settings import settings
from shared.values import cheque_code

PAGE = (Path(settings.__file__).parents[2] / "docs" / "security-codes.md").read_text(encoding="utf-8")
LIVE = 10_000_000
CODES = len(cheque_code.ALPHABET) ** 16
YEAR = timedelta(seconds=31_557_600)
PER_HOUR, FIRST = 20, timedelta(seconds=60)
STRUCTURES = 2_500
# At most one lock-out a day, and in the first week those that are shorter.
LOCKOUTS = 365 + 6
MOST = round(PER_HOUR * (YEAR / timedelta(hours=1))) + LOCKOUTS * redeeming.MAX_CODES
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def in_a_year(codes: int, pause: Callable[[Guessing, datetime], datetime]) -> int:
    """How many guesses a structure has judged that sends so many codes at once, and then waits until `pause`."""
    tally = Guessing(guesses=0, strikes=0, lockouts=0, clear_at=BEGINNING, locked_until=BEGINNING - YEAR)
    now = BEGINNING
    while now < BEGINNING + YEAR:
        lockout.add(tally, codes, lockout.A_REDEMPTION, PER_HOUR, FIRST, now)
        now = max(pause(tally, now), tally.locked_until)
    return int(tally.guesses)


def written(number: float) -> str:
    """As the page writes it: 2.6 × 10⁻⁶."""
    digits, exponent = f"{number:.1e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def test_a_code_has_eighty_bits() -> None:
    assert CODES == 2**80
    assert f"a chance of {written(LIVE / CODES)}" in PAGE


@pytest.mark.parametrize(
    ("guesses", "years"),
    [
        (10_000 * YEAR.total_seconds(), "383 000 years"),
        (MOST, "624 000 million years"),
        (STRUCTURES * MOST, "250 million years"),
    ],
)
def test_the_page_says_what_guessing_comes_to(guesses: float, years: str) -> None:
    found = guesses * LIVE / CODES
    assert f"| {written(guesses)} | {written(found)} | {years} |" in PAGE
    number, *scale = years.split()
    said = float(years[: years.index(" m")].replace(" ", "")) * 1e6 if "million" in scale else 383_000.0
    assert said == pytest.approx(1 / found, rel=0.01), number


def test_the_page_says_what_shorter_codes_and_a_stolen_key_would_come_to() -> None:
    assert 10_000 * YEAR.total_seconds() * LIVE / 62**8 == pytest.approx(14_500, rel=0.01)
    assert "14 500 cheques a year" in PAGE
    assert written(CODES / LIVE) in PAGE
    days = CODES / LIVE / 1e10 / 86_400
    assert days == pytest.approx(140, rel=0.01)
    assert "140 days" in PAGE


@pytest.mark.parametrize("codes", [3, PER_HOUR - 1, PER_HOUR, redeeming.MAX_CODES])
def test_no_way_of_waiting_gets_more_guesses_judged_than_the_page_says(codes: int) -> None:
    at_once = in_a_year(codes, lambda _, now: now)
    when_clear = in_a_year(codes, lambda tally, _: tally.clear_at)
    hour = timedelta(hours=1)
    below = in_a_year(codes, lambda tally, now: max(now, tally.clear_at - hour + hour * (codes + 0.01) / PER_HOUR))
    weekly = in_a_year(codes, lambda tally, now: tally.clear_at + timedelta(days=7 if tally.locked_until > now else 0))
    assert max(at_once, when_clear, below, weekly) <= MOST


def test_the_page_says_the_limits_as_they_are() -> None:
    example = (Path(settings.__file__).parents[2] / ".env.example").read_text(encoding="utf-8")
    for setting, page in (
        ("GUESSES_PER_STRUCTURE=20", "| 20 an hour |"),
        ("GUESSES_PER_ADDRESS=60", "| 60 an hour |"),
        ("GUESSES_IN_ALL=1000", "| 1 000 an hour |"),
        ("LOCKOUT_SECONDS=60", "| 60 |"),
    ):
        assert f"# {setting}\n" in example
        assert f"| `{setting.split('=')[0]}` {page}" in PAGE
