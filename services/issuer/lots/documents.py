"""The statement of a lot as files: a table, and a document in French to sign."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from services.issuer.lots.statement import COLUMNS, Shown
from shared.files import csv_export, pdf_documents
from shared.values import clock
from shared.values.french_format import in_figures, in_full, in_words, number

_TEMPLATE = Path(__file__).parent / "lot_statement.typ"
_SUMS = [f"{column}_{unit}" for column in COLUMNS for unit in ("number", "cents")]
_HEADS = ("lot", "programme", "agreed_on", "envelope_id", "funder", "convention_reference", *_SUMS)


def table(shown: Shown) -> Iterator[str]:
    """The lines of a CSV file: one for each envelope."""
    day = clock.day_of(shown.agreed_at) if shown.agreed_at else None
    first = (shown.lot.code, shown.programme, day)
    names = _HEADS[len(first) :]
    rows = [(*first, *(line[name] for name in names)) for line in shown.figures["envelopes"]]
    return csv_export.lines(_HEADS, rows)


def document(shown: Shown) -> bytes:
    """The document; an agreed statement gives the same bytes each time."""
    return pdf_documents.pdf(_TEMPLATE, _payload(shown), shown.agreed_at or clock.now())


def _payload(shown: Shown) -> dict[str, Any]:
    total = shown.figures["total"]
    at = clock.day_of(shown.agreed_at or clock.now())
    return {
        "lot": shown.lot.name,
        "code": shown.lot.code,
        "programme": shown.programme_name,
        "day": in_full(at),
        "agreed": shown.agreed_at is not None,
        "by": (shown.agreed_by or "").rpartition(":")[2],
        "open": number(total["open_number"]) if total["open_number"] else "",
        "lines": [
            {"of": f"{line['funder']} – {line['convention_reference']}", "cells": _cells(line)}
            for line in shown.figures["envelopes"]
        ],
        "total": _cells(total),
        "replaced": number(total["replaced_number"]),
        "used_figures": in_figures(total["used_cents"]),
        "used_words": in_words(total["used_cents"]),
        "digest": shown.digest,
    }


def _cells(line: Mapping[str, Any]) -> list[list[str]]:
    columns = [column for column in COLUMNS if column != "replaced"]
    return [[number(line[f"{column}_number"]), in_figures(line[f"{column}_cents"])] for column in columns]
