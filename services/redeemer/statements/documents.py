"""A statement as files: CSV for machines, and the état liquidatif, in French, that the public accountant pays upon."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.redeemer.statements.models import Statement
from shared.files import pdf_documents
from shared.values import clock
from shared.values.french_format import in_figures, in_full, in_words, month, number

_TEMPLATE = Path(__file__).parent / "statement.typ"
_COLUMNS = ("due_cents", "confirmed_cents", "paid_cents")
HEADS = (
    "statement", "position", "kind", "redemption_id", "cheque_id", "programme", "presented_on", "given_on",
    *_COLUMNS, "corrects", "text",
)  # fmt: skip


def csv_rows(statement: Statement, lines: Sequence[Any], refusals: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows of its CSV file; the last one is the total, in cents and in words."""
    for row in lines:
        facts = (row.redemption_id, row.cheque_id, row.programme, row.presented_on, row.given_on)
        yield (statement.name, row.position, row.kind, *facts, *_amounts(row), row.corrects, row.reason)
    for row in refusals:
        facts = (row.redemption_id, "", row.programme, row.presented_on, row.given_on)
        yield (statement.name, "", "refusal", *facts, 0, 0, 0, "", row.reason)
    yield (statement.name, "", "total", *[""] * 5, *_amounts(statement), "", in_words(statement.due_cents))


def pdf(statement: Statement, lines: Sequence[Any], refusals: Sequence[Any]) -> bytes:
    """The état liquidatif; the same statement gives the same bytes."""
    data = _data(statement, lines) | {"refusals": [_refusal(row) for row in refusals]}
    return pdf_documents.pdf(_TEMPLATE, data, statement.issued_at)


def _data(statement: Statement, lines: Sequence[Any]) -> dict[str, Any]:
    redemptions = [row for row in lines if row.kind == "redemption"]
    corrections = [row for row in lines if row.kind == "correction"]
    period = month(statement.month)
    return {
        "title": f"État liquidatif n° {statement.name}",
        "number": statement.name,
        "period": f"{_of(period)}{period}",
        "authority": statement.authority,
        "creditor": statement.structure_name,
        "siret": _spaced(statement.siret),
        "address": statement.address,
        "town": f"{statement.postcode} {statement.commune}".strip(),
        "issued_on": in_full(clock.day_of(statement.issued_at)),
        "due_on": in_full(statement.due_on),
        "redemptions": [_redemption(row) for row in redemptions],
        "corrections": [_correction(row) for row in corrections],
        "programmes": _by_programme(lines),
        "subtotals": [_sum(redemptions), _sum(corrections)],
        "total": [in_figures(cents) for cents in _amounts(statement)],
        "number_of_cheques": number(statement.redemptions),
        "figures": in_figures(abs(statement.due_cents)),
        "words": in_words(abs(statement.due_cents)),
        "rest": _rest(statement.due_cents - statement.paid_cents) if statement.paid_cents else None,
        "owed_back": statement.due_cents < 0,
    }


def _rest(cents: int) -> dict[str, Any]:
    return {"figures": in_figures(abs(cents)), "words": in_words(abs(cents)), "too_much": cents < 0}


def _redemption(row: Any) -> list[str]:
    days = _short(row.presented_on), _short(row.given_on)
    return [str(row.position), *days, _reference(row), _named(row), *map(in_figures, _amounts(row))]


def _correction(row: Any) -> list[str]:
    return [str(row.position), row.corrects, _reference(row), row.reason, in_figures(row.due_cents)]


def _refusal(row: Any) -> list[str]:
    days = _short(row.presented_on), _short(row.given_on)
    return [*days, _reference(row), row.reason, in_figures(row.amount_cents)]


def _by_programme(lines: Sequence[Any]) -> list[list[str]]:
    """Number of cheques and amount due of each programme, where there are several."""
    names = sorted({_named(row) for row in lines})
    chosen = [[row for row in lines if _named(row) == name] for name in names]
    return [
        [name, number(sum(row.kind == "redemption" for row in rows)), *_sum(rows)]
        for name, rows in zip(names, chosen, strict=True)
    ]


def _named(row: Any) -> str:
    """A programme as people call it."""
    return str(row.programme_name or row.programme)


def _sum(rows: Sequence[Any]) -> list[str]:
    return [in_figures(sum(getattr(row, name) for row in rows)) for name in _COLUMNS]


def _amounts(row: Any) -> list[int]:
    return [getattr(row, name) for name in _COLUMNS]


def _reference(row: Any) -> str:
    """The last twelve characters of a redemption's identifier: they are random, so they distinguish lines."""
    return str(row.redemption_id)[-12:]


def _short(day: Any) -> str:
    return f"{day:%d/%m/%Y}"


def _of(period: str) -> str:
    return "d’" if period[0] in "ao" else "de "


def _spaced(siret: str | None) -> str:
    """`828 549 188 00021`, with spaces at which no line breaks."""
    return "\u202f".join((siret[:3], siret[3:6], siret[6:9], siret[9:])) if siret else "non communiqué"
