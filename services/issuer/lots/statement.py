"""The statement at the end of a lot: its figures by envelope, agreed once and never changed.

Whoever agrees sends the digest of the figures: if a cheque changed in between, nothing is agreed. Later changes, such
as a reversed redemption, change nothing in it and are shown beside it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.grants import lots
from services.issuer.grants.models import Lot
from services.issuer.lots.models import LotStatement
from services.issuer.notices import outbox
from shared.files import csv_export, pdf_documents
from shared.problems import Conflict
from shared.values import clock
from shared.values.french_format import in_figures, in_full, in_words, number

_CONDITIONS = {
    "issued": "true",
    "used": "state = 'redeemed'",
    "expired": "state = 'expired'",
    "cancelled": "state = 'cancelled'",
    "replaced": "replaced_cheque.old_cheque_id IS NOT NULL",
    "blocked": "state = 'blocked'",
    "open": "state IN ('issued', 'spendable')",
}
"""Every cheque of the lot is issued, and in one of the others; replaced ones are among those cancelled."""
SUMS = [f"{column}_{unit}" for column in _CONDITIONS for unit in ("number", "cents")]

Figures = dict[str, Any]
"""`envelopes`: a line each; `total`: their sums. Each has number and cents of every column."""

_COUNTED = ", ".join(
    f"count(*) FILTER (WHERE {condition}) AS {column}_number,"
    f" CAST(coalesce(sum(value_cents) FILTER (WHERE {condition}), 0) AS bigint) AS {column}_cents"
    for column, condition in _CONDITIONS.items()
)
_COUNT = sa.text(f"""
    SELECT CAST(envelope.id AS text) AS envelope_id, envelope.funder, envelope.convention_reference, {_COUNTED}
    FROM cheque_grant
    JOIN cheque ON cheque.grant_id = cheque_grant.id
    JOIN envelope ON envelope.id = cheque.envelope_id
    LEFT JOIN replaced_cheque ON replaced_cheque.old_cheque_id = cheque.id AND replaced_cheque.issued_at IS NOT NULL
    WHERE cheque_grant.lot_id = :lot_id
    GROUP BY envelope.id ORDER BY envelope.funder, envelope.convention_reference, envelope.id
""")  # noqa: S608 (constants of this module)
_IN_HAND = sa.text("""
    SELECT count(*) FROM cancellation_cheque
    JOIN cheque ON cheque.id = cheque_id JOIN cheque_grant ON cheque_grant.id = grant_id
    WHERE lot_id = :lot_id AND outcome = 'requested'
""")
_TEMPLATE = Path(__file__).parent / "lot_statement.typ"
_HEADS = ("lot", "programme", "agreed_on", "envelope_id", "funder", "convention_reference", *SUMS)


@dataclass(frozen=True, slots=True)
class LotReport:
    """A lot's statement, agreed or as it would be now, and its figures now."""

    lot: Lot
    agreed: LotStatement
    """Without `agreed_at` and `agreed_by` where nobody agreed yet."""
    now: Figures

    @property
    def differs(self) -> bool:
        """Whether something has happened since it was agreed."""
        return self.agreed.figures != self.now


def show(session: Session, code: str) -> LotReport:
    """The statement of a lot, agreed or as it would be now; raises NotFound."""
    lot = lots.find(session, code)
    now = _count(session, lot.id)
    agreed = session.get(LotStatement, lot.id) or LotStatement(figures=now, digest=_digest(now))
    return LotReport(lot, agreed, now)


def agree(session: Session, code: str, digest: str, by: str) -> LotReport:
    """Freezes a lot's figures as they were looked at, and closes the lot.

    Raises NotFound, or Conflict where it was agreed before, some of its cheques can still move, or the figures are not
    those any more.
    """
    lot = lots.find(session, code, lock=True)
    if lot.closed_at is not None:
        raise Conflict("The statement of this lot was agreed before.", slug="lot-closed")
    figures = _count(session, lot.id)
    _refuse_open(session, lot.id, figures)
    if digest != _digest(figures):
        raise Conflict(
            "The figures have changed: look at them again.", slug="statement-changed", digest=_digest(figures)
        )
    lot.closed_at = clock.now()
    agreed = LotStatement(lot_id=lot.id, figures=figures, digest=digest, agreed_by=by, agreed_at=lot.closed_at)
    session.add(agreed)
    session.flush()
    body = {"lot": lot.code, "by": by, "digest": digest, "total": figures["total"]}
    outbox.post(session, "lot.agreed", str(lot.id), body, subject_id=lot.id)
    return LotReport(lot, agreed, figures)


def table(report: LotReport) -> Iterator[str]:
    """The lines of a CSV file: one for each envelope."""
    lot, agreed = report.lot, report.agreed
    first = (lot.code, lot.programme_code, agreed.agreed_at and clock.day_of(agreed.agreed_at))
    rows = [(*first, *(line[name] for name in _HEADS[len(first) :])) for line in agreed.figures["envelopes"]]
    return csv_export.lines(_HEADS, rows)


def document(report: LotReport) -> bytes:
    """The document; an agreed statement gives the same bytes each time."""
    return pdf_documents.pdf(_TEMPLATE, _payload(report), report.agreed.agreed_at or clock.now())


def _refuse_open(session: Session, lot_id: UUID, figures: Figures) -> None:
    """A cheque that can still be spent, or whose cancellation is pending, would change the figures by itself."""
    number = figures["total"]["open_number"]
    in_hand = session.execute(_IN_HAND, {"lot_id": lot_id}).scalar_one()
    if number or in_hand:
        raise Conflict(
            f"It is not the end of the lot: {number} cheques can be spent, {in_hand} cancellations are in hand.",
            slug="lot-still-open",
            open_number=number,
            in_hand=in_hand,
        )


def _count(session: Session, lot_id: UUID) -> Figures:
    envelopes = [dict(row) for row in session.execute(_COUNT, {"lot_id": lot_id}).mappings()]
    return {"envelopes": envelopes, "total": {name: sum(line[name] for line in envelopes) for name in SUMS}}


def _digest(figures: Figures) -> str:
    return hashlib.sha256(json.dumps(figures, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _payload(report: LotReport) -> dict[str, Any]:
    lot, agreed = report.lot, report.agreed
    total = agreed.figures["total"]
    return {
        "lot": lot.name,
        "code": lot.code,
        "programme": lot.programme.name,
        "day": in_full(clock.day_of(agreed.agreed_at or clock.now())),
        "agreed": agreed.agreed_at is not None,
        "by": (agreed.agreed_by or "").rpartition(":")[2],
        "open": number(total["open_number"]) if total["open_number"] else "",
        "lines": [
            {"of": f"{line['funder']} – {line['convention_reference']}", "cells": _cells(line)}
            for line in agreed.figures["envelopes"]
        ],
        "total": _cells(total),
        "replaced": number(total["replaced_number"]),
        "used_figures": in_figures(total["used_cents"]),
        "used_words": in_words(total["used_cents"]),
        "digest": agreed.digest,
    }


def _cells(line: Mapping[str, Any]) -> list[list[str]]:
    columns = [column for column in _CONDITIONS if column != "replaced"]
    return [[number(line[f"{column}_number"]), in_figures(line[f"{column}_cents"])] for column in columns]
