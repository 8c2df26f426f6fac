"""What a convention came to as of a day: granted, engaged, used, expired, cancelled, paid, and what its funder owes.

Everything is read from the journal and from the movements of envelopes, of which nothing is ever changed: a report as
of a past day is the same whenever it is asked for. That of today may still grow.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

MEASURES = ("granted", "engaged", "used", "expired", "cancelled", "paid")
BREAKDOWNS = ("envelope_id", "target_public", "prescriber_kind", "month")

# Each measure from the kinds of the journal: what is engaged is granted and has not gone back.
_KINDS: Mapping[str, Mapping[str, int]] = {
    "granted": {"engaged": 1},
    "engaged": {"engaged": 1, "cancelled": -1, "expired": -1},
    "used": {"used": 1, "unused": -1},
    "expired": {"expired": 1},
    "cancelled": {"cancelled": 1},
    "paid": {"paid": 1, "unpaid": -1},
}


def _measures() -> str:
    sums = []
    for measure, kinds in _KINDS.items():
        signs = " ".join(f"WHEN '{kind}' THEN {sign}" for kind, sign in kinds.items())
        for unit in ("number", "cents"):
            sums.append(f"sum(journal_entry.{unit} * CASE kind {signs} ELSE 0 END)::bigint AS {measure}_{unit}")
    return ", ".join(sums)


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
_LEVELS = {0b0111: "envelope_id", 0b1011: "target_public", 0b1101: "prescriber_kind", 0b1110: "month"}

_AMOUNTS = sa.text("""
    SELECT DISTINCT ON (envelope.id) envelope.convention_id, envelope.id, programme.code AS programme,
           movement.after_cents, movement.kind = 'closed' AS closed
    FROM envelope_movement movement JOIN envelope ON envelope.id = movement.envelope_id
    JOIN programme ON programme.id = envelope.programme_id
    WHERE movement.made_on <= :as_of AND (CAST(:convention_id AS uuid) IS NULL OR convention_id = :convention_id)
    ORDER BY envelope.id, movement.sequence DESC
""")


_GRANTED = sa.text("""
    SELECT DISTINCT ON (convention_id) convention_id, amount_cents FROM convention_amendment
    WHERE made_on <= :as_of AND (CAST(:convention_id AS uuid) IS NULL OR convention_id = :convention_id)
    ORDER BY convention_id, sequence DESC
""")
# What is granted while the report is put together is in all of it or in none.
_ONE_SNAPSHOT = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Of which conventions (None: all) and as of which day a report is asked for."""

    as_of: date
    convention_id: UUID | None = None

    @classmethod
    def on(cls, as_of: date | None, convention_id: UUID | None = None) -> "ReportRequest":
        """As of a day, by default today; raises Invalid where the day is in the future."""
        today = clock.today()
        if as_of and as_of > today:
            raise Invalid("`as_of` must not be in the future.", errors={"as_of": [f"At most {today}."]})
        return cls(as_of or today, convention_id)

    @property
    def provisional(self) -> bool:
        """Whether the day is not over, so that more may be booked on it."""
        return self.as_of >= clock.today()


def report(session: Session, request: ReportRequest) -> dict[str, Any]:
    """The report of each convention that there was on the day, in the order of funders; raises NotFound.

    It comes first in its transaction, as all of it is read from one snapshot.
    """
    session.execute(_ONE_SNAPSHOT)
    if request.convention_id:
        conventions.find(session, request.convention_id)
    params = {"as_of": request.as_of, "convention_id": request.convention_id}
    granted = {row.convention_id: row.amount_cents for row in session.execute(_GRANTED, params)}
    books = {found.id: _Book(found, granted[found.id]) for found in _in_order(session, granted)}
    for row in session.execute(_AMOUNTS, params):
        books[row.convention_id].add_envelope(row)
    for sums in session.execute(_SUMS, params).mappings():
        books[sums["convention_id"]].add(dict(sums))
    results = [book.result() for book in books.values()]
    return {"as_of": request.as_of, "provisional": request.provisional, "conventions": results}


def summary(session: Session, request: ReportRequest) -> Iterator[Sequence[Any]]:
    """A line for each convention, `SUMMARY` its heads."""
    for line in report(session, request)["conventions"]:
        sums = [line["sums"][measure][unit] for measure in MEASURES for unit in ("number", "cents")]
        yield [request.as_of, *(line[name] for name in _NAMED), *sums]


_NAMED = ("funder", "convention_reference", "amount_cents", "pays_at_most_bp", "owed_cents")
SUMMARY = ("as_of", *_NAMED, *(f"{measure}_{unit}" for measure in MEASURES for unit in ("number", "cents")))


class _Book:
    """A convention while its report is put together."""

    def __init__(self, convention: Convention, amount_cents: int | None) -> None:
        self._convention, self._amount_cents = convention, amount_cents
        self._envelopes: dict[UUID, dict[str, Any]] = {}
        self._sums = _measured({})
        self._by: dict[str, list[dict[str, Any]]] = {name: [] for name in BREAKDOWNS}

    def add_envelope(self, row: Any) -> None:
        """Adds the amount of an envelope."""
        self._envelopes[row.id] = {"programme": row.programme, "amount_cents": row.after_cents, "closed": row.closed}

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a sum, of all or of a breakdown."""
        name = _LEVELS.get(row["level"])
        if name is None:
            self._sums = _measured(row)
        else:
            self._by[name].append({name: row[name], "sums": _measured(row)})

    def result(self) -> dict[str, Any]:
        """The whole report of the convention."""
        convention = self._convention
        held = sum(envelope["amount_cents"] for envelope in self._envelopes.values())
        amount = self._amount_cents or held
        return {
            "convention_id": convention.id,
            "funder": convention.funder,
            "convention_reference": convention.reference,
            "amount_cents": amount,
            "envelopes_cents": held,
            "pays_at_most_bp": convention.pays_at_most_bp,
            "owed_cents": conventions.owed_cents(convention, amount, self._sums["used"]["cents"]),
            "sums": self._sums,
            "by_envelope": self._by_envelope(),
            **{f"by_{name}": self._by[name] for name in BREAKDOWNS[1:]},
        }

    def _by_envelope(self) -> list[dict[str, Any]]:
        sums = {line["envelope_id"]: line["sums"] for line in self._by["envelope_id"]}
        return [
            {"envelope_id": envelope_id, "sums": sums.get(envelope_id, _measured({})), **held}
            for envelope_id, held in self._envelopes.items()
        ]


def _measured(row: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    return {measure: {unit: row.get(f"{measure}_{unit}", 0) for unit in ("number", "cents")} for measure in MEASURES}


def _in_order(session: Session, convention_ids: Collection[UUID]) -> Iterable[Convention]:
    query = sa.select(Convention).where(engine.among(Convention.id, convention_ids))
    return session.scalars(query.order_by(Convention.funder, Convention.reference))
