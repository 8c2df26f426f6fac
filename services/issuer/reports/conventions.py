"""The sums of a convention as of a day: granted, engaged, used, expired, cancelled, paid, and what its funder owes.

Everything is read from the journal and from the movements of envelopes, of which nothing is ever changed: a report as
of a past day is the same whenever it is made. That of today may still grow.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.funding import conventions
from services.issuer.funding.models import Convention
from shared.database import engine
from shared.problems import Invalid
from shared.values import clock

UNITS = ("number", "cents")

# Each measure from the kinds of the journal: what is engaged is granted and has not gone back.
_KINDS: Mapping[str, Mapping[str, int]] = {
    "granted": {"engaged": 1},
    "engaged": {"engaged": 1, "cancelled": -1, "expired": -1},
    "used": {"used": 1, "unused": -1},
    "expired": {"expired": 1},
    "cancelled": {"cancelled": 1},
    "paid": {"paid": 1, "unpaid": -1},
}
MEASURES = tuple(_KINDS)


def _measures() -> str:
    signs = {
        measure: " ".join(f"WHEN '{kind}' THEN {sign}" for kind, sign in kinds.items())
        for measure, kinds in _KINDS.items()
    }
    return ", ".join(
        f"sum(journal_entry.{unit} * CASE kind {signs[measure]} ELSE 0 END)::bigint AS {measure}_{unit}"
        for measure in MEASURES
        for unit in UNITS
    )


_BOOKED = """
    FROM journal_entry JOIN envelope ON envelope.id = journal_entry.envelope_id
    JOIN convention ON convention.id = envelope.convention_id JOIN programme ON programme.id = envelope.programme_id
    WHERE journal_entry.booked_on <= :as_of AND (CAST(:convention_id AS uuid) IS NULL OR convention.id = :convention_id)
"""
_MONTH = "to_char(occurred_on, 'YYYY-MM')"

LINES = f"""
    SELECT CAST(:as_of AS date) AS as_of, convention.funder, convention.reference AS convention_reference,
           programme.code AS programme, envelope.id AS envelope_id, target_public, prescriber_kind, {_MONTH} AS month,
           {_measures()}
    {_BOOKED}
    GROUP BY convention.id, programme.id, envelope.id, target_public, prescriber_kind, month
    ORDER BY convention.funder, convention.reference, programme.code, envelope.id, target_public, prescriber_kind, month
"""
"""A line for each envelope, public, kind of prescriber and month: what a spreadsheet adds up as it likes."""

_SUMS = sa.text(f"""
    SELECT convention.id AS convention_id, envelope.id AS envelope_id, target_public, prescriber_kind,
           {_MONTH} AS month, GROUPING(envelope.id, target_public, prescriber_kind, {_MONTH}) AS level, {_measures()}
    {_BOOKED}
    GROUP BY GROUPING SETS ((convention.id), (convention.id, envelope.id), (convention.id, target_public),
                            (convention.id, prescriber_kind), (convention.id, {_MONTH}))
    ORDER BY convention.id, envelope.id, target_public, prescriber_kind, month
""")

# Which bits of GROUPING stand for which breakdown: the bit of a column that the row is by is 0.
_TOTAL = 0b1111
_LEVELS = {"envelope_id": 0b0111, "target_public": 0b1011, "prescriber_kind": 0b1101, "month": 0b1110}

_AMOUNTS = sa.text("""
    SELECT DISTINCT ON (envelope.id) envelope.convention_id, envelope.id AS envelope_id, programme.code AS programme,
           envelope_movement.after_cents AS amount_cents, envelope_movement.kind = 'closed' AS closed
    FROM envelope_movement JOIN envelope ON envelope.id = envelope_movement.envelope_id
    JOIN programme ON programme.id = envelope.programme_id
    WHERE envelope_movement.made_on <= :as_of
      AND (CAST(:convention_id AS uuid) IS NULL OR convention_id = :convention_id)
    ORDER BY envelope.id, envelope_movement.sequence DESC
""")
_GRANTED = sa.text("""
    SELECT DISTINCT ON (convention_id) convention_id, amount_cents FROM convention_amendment
    WHERE made_on <= :as_of AND (CAST(:convention_id AS uuid) IS NULL OR convention_id = :convention_id)
    ORDER BY convention_id, sequence DESC
""")
# What is granted while the report is put together is in all of it or in none.
_ONE_SNAPSHOT = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


_NAMED = ("funder", "convention_reference", "amount_cents", "pays_at_most_bp", "owed_cents")
SUMMARY = ("as_of", *_NAMED, *(f"{measure}_{unit}" for measure in MEASURES for unit in UNITS))
"""The heads of `summary`."""


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """The day and the convention (None: all) of a report."""

    as_of: date
    convention_id: UUID | None = None

    @classmethod
    def on(cls, as_of: date | None, convention_id: UUID | None = None) -> "ReportRequest":
        """As of a day, by default today; raises Invalid where the day is in the future."""
        today = clock.today()
        if as_of and as_of > today:
            raise Invalid("`as_of` must not be in the future.", errors={"as_of": [f"At most {today}."]})
        return cls(as_of or today, convention_id)


def report(session: Session, request: ReportRequest) -> dict[str, Any]:
    """The report of each convention that there was on the day, in the order of funders; raises NotFound.

    It comes first in its transaction, as all of it is read from one snapshot.
    """
    session.execute(_ONE_SNAPSHOT)
    params = check(session, request)
    granted = {row.convention_id: row.amount_cents for row in session.execute(_GRANTED, params)}
    envelopes: defaultdict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for envelope in session.execute(_AMOUNTS, params).mappings():
        envelopes[envelope["convention_id"]].append(dict(envelope))
    sums: defaultdict[tuple[UUID, int], list[sa.RowMapping]] = defaultdict(list)
    for row in session.execute(_SUMS, params).mappings():
        sums[row["convention_id"], row["level"]].append(row)
    query = sa.select(Convention).where(engine.among(Convention.id, granted))
    results = [
        _result(
            convention,
            granted[convention.id],
            envelopes[convention.id],
            {level: sums[convention.id, level] for level in (_TOTAL, *_LEVELS.values())},
        )
        for convention in session.scalars(query.order_by(Convention.funder, Convention.reference))
    ]
    # While the day is not over, more may be booked on it.
    return {"as_of": request.as_of, "provisional": request.as_of >= clock.today(), "conventions": results}


def check(session: Session, request: ReportRequest) -> dict[str, Any]:
    """The parameters of `LINES`; raises NotFound where there is no such convention."""
    if request.convention_id:
        conventions.find(session, request.convention_id)
    return asdict(request)


def summary(session: Session, request: ReportRequest) -> Iterator[Sequence[Any]]:
    """A line for each convention."""
    for line in report(session, request)["conventions"]:
        sums = [line["sums"][measure][unit] for measure in MEASURES for unit in UNITS]
        yield [request.as_of, *(line[name] for name in _NAMED), *sums]


def _result(
    convention: Convention,
    granted_cents: int | None,
    envelopes: Sequence[dict[str, Any]],
    sums: Mapping[int, Sequence[sa.RowMapping]],
) -> dict[str, Any]:
    held = sum(envelope["amount_cents"] for envelope in envelopes)
    amount = granted_cents or held
    total = _measured(next(iter(sums[_TOTAL]), {}))
    by = {name: [{name: row[name], "sums": _measured(row)} for row in sums[level]] for name, level in _LEVELS.items()}
    of_envelopes = {line["envelope_id"]: line["sums"] for line in by.pop("envelope_id")}
    return {
        "convention_id": convention.id,
        "funder": convention.funder,
        "convention_reference": convention.reference,
        "amount_cents": amount,
        "envelopes_cents": held,
        "pays_at_most_bp": convention.pays_at_most_bp,
        "owed_cents": conventions.owed_cents(convention, amount, total["used"]["cents"]),
        "sums": total,
        "by_envelope": [
            envelope | {"sums": of_envelopes.get(envelope["envelope_id"], _measured({}))} for envelope in envelopes
        ],
        **{f"by_{name}": lines for name, lines in by.items()},
    }


def _measured(row: Mapping[Any, Any]) -> dict[str, dict[str, int]]:
    return {measure: {unit: row.get(f"{measure}_{unit}", 0) for unit in UNITS} for measure in MEASURES}
