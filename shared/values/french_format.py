"""Amounts, numbers and days as French readers expect them, on paper and on pages. Amounts are integer cents of EUR."""

from datetime import date

from num2words import num2words

_MONTHS = (
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
    "décembre",
)  # fmt: skip
_NO_BREAK, _NARROW = "\u00a0", "\u202f"


def number(count: int) -> str:
    """A number: `1 234`, with narrow spaces at which no line breaks."""
    return f"{count:,}".replace(",", _NARROW)


def in_figures(cents: int) -> str:
    """An amount in figures: `1 234,50 €`, with spaces at which no line breaks."""
    euros, rest = divmod(abs(cents), 100)
    return f"{'−' if cents < 0 else ''}{number(euros)},{rest:02d}{_NO_BREAK}€"


def in_words(cents: int) -> str:
    """An amount in words: `mille deux cent trente-quatre euros et cinquante centimes`."""
    euros, rest = divmod(abs(cents), 100)
    words = num2words(euros, lang="fr")
    of = " d’" if words.endswith(("million", "millions", "milliard", "milliards")) else " "
    written = f"{words}{of}euro{'s' if euros > 1 else ''}"
    if rest:
        written += f" et {num2words(rest, lang='fr')} centime{'s' if rest > 1 else ''}"
    return f"moins {written}" if cents < 0 else written


def in_full(day: date) -> str:
    """A day: `1er janvier 2026`."""
    return f"{'1er' if day.day == 1 else day.day} {_MONTHS[day.month - 1]} {day.year}"


def month(day: date) -> str:
    """The month of a day: `janvier 2026`."""
    return f"{_MONTHS[day.month - 1]} {day.year}"
