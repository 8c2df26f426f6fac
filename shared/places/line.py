"""A line of a file of the national schema: what is wrong with it, or the place that it describes.

What the schema's closed lists do not have is left out and remarked on, so that whatever is kept can be exported again.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from stdnum.fr import siret as siret_rule

from shared.places import vocabulary
from shared.places.vocabulary import CARE, CLOSED, DETAILS, LONGEST_SUMMARY, OLDER_COLUMNS, PUBLICS, SERVICES
from shared.values import cheque_code

MAX_FIELD = 10_000
MAX_ID = 200  # it becomes part of an index
REQUIRED = ("id", "pivot", "nom", "commune", "code_postal", "adresse", "date_maj")

_LABELS = (*vocabulary.LABELS, "labels_nationaux", "labels_autres")
_IDENTIFIER = re.compile(r"[0-9A-Za-z]{9,14}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,30})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Place:
    """A place as its line describes it. `source_id` is its key; several places may have the same SIRET, or none."""

    source_id: str
    siret: str | None
    name: str
    commune: str
    postcode: str
    insee_code: str | None
    address: str
    latitude: float | None
    longitude: float | None
    services: tuple[str, ...]
    publics: tuple[str, ...]
    typologies: tuple[str, ...]
    labels: tuple[str, ...]
    details: Mapping[str, str]
    """The other columns, by their names in v1; under `pivot` an identifier that is no SIRET."""
    updated_on: date
    line: int


@dataclass(frozen=True, slots=True)
class Note:
    """A note about one field (empty: the whole line) of the physical line `line`, counted from 1."""

    line: int
    field: str
    reason: str


class Line:
    """The values of a line by their columns; `separator` is that of the file's lists."""

    def __init__(self, number: int, values: Mapping[str, str], separator: str) -> None:
        self.number = number
        self.values = values
        self.remarks: list[Note] = []
        # A bar separates in either version: it could not be written in a list of v1.
        self._separators = re.compile(f"[{re.escape(separator)}|]")

    def faults(self) -> list[Note]:
        """What keeps the line out."""
        faults = [Note(self.number, name, "required, and empty") for name in REQUIRED if not self.values[name]]
        reasons = ((name, _fault(name, value)) for name, value in self.values.items() if value)
        return faults + [Note(self.number, name, reason) for name, reason in reasons if reason]

    def place(self) -> Place:
        """The place of a line without faults; adds to `remarks` what is left out."""
        values, identifier = self.values, _identifier(self.values["pivot"])
        services = self._closed(SERVICES, self._items(SERVICES))
        publics = self._items(PUBLICS, "publics_accueillis")
        care = [item for item in publics if item in vocabulary.CARE_AMONG_PUBLICS]
        publics = self._closed(PUBLICS, (item for item in publics if item not in care))
        details = self._details(care)
        siret = identifier if _is_siret_like(identifier) else None
        if set(identifier) == {"0"}:
            self._remark("pivot", "placeholder of zeros: the place is kept without a SIRET")
        elif siret is None:
            self._remark("pivot", "not a SIRET: the place is kept without one")
            details["pivot"] = identifier
        return Place(
            source_id=values["id"],
            siret=siret,
            name=values["nom"],
            commune=values["commune"],
            postcode=values["code_postal"],
            insee_code=values.get("code_insee") or None,
            address=values["adresse"],
            latitude=_degrees(values.get("latitude")),
            longitude=_degrees(values.get("longitude")),
            services=services,
            publics=publics,
            typologies=self._items("typologie"),
            labels=tuple(label for group in vocabulary.label_groups(self._items(*_LABELS)) for label in group),
            details=details,
            updated_on=date.fromisoformat(values["date_maj"]),
            line=self.number,
        )

    def _details(self, care: Iterable[str]) -> dict[str, str]:
        details = {}
        for column in DETAILS:
            names = (column, OLDER_COLUMNS.get(column, column))
            if column in CLOSED:
                text = "|".join(self._closed(column, (*self._items(*names), *(care if column == CARE else ()))))
            else:
                text = self._text(column, next(filter(None, (self.values.get(name) for name in names)), ""))
            if text:
                details[column] = text
        return details

    def _items(self, *columns: str) -> tuple[str, ...]:
        """The entries of list columns, without blanks and repetitions, in their order."""
        parts = (part.strip() for column in columns for part in self._separators.split(self.values.get(column, "")))
        return tuple(dict.fromkeys(filter(None, parts)))

    def _closed(self, column: str, items: Iterable[str]) -> tuple[str, ...]:
        terms, unknown = vocabulary.translate(column, items)
        if unknown:
            listed = ", ".join(f"“{item[:80]}”" for item in unknown[:10])
            self._remark(column, f"left out, as the national list does not have it: {listed}")
        return terms

    def _text(self, column: str, text: str) -> str:
        if column == "telephone" and text:
            number = vocabulary.telephone(text)
            if number is None:
                self._remark(column, "left out: not a telephone number written like +33553690000")
            return number or ""
        if column == "presentation_resume" and len(text) > LONGEST_SUMMARY:
            self._remark(column, f"left out: longer than {LONGEST_SUMMARY} characters")
            return ""
        return text

    def _remark(self, column: str, reason: str) -> None:
        self.remarks.append(Note(self.number, column, reason))


def _fault(name: str, value: str) -> str | None:
    longest = MAX_ID if name == "id" else MAX_FIELD
    if len(value) > longest:
        return f"longer than {longest} characters"
    if _CONTROL.search(value):
        return "has a control character"
    if cheque_code.stands_in(value):
        return "holds a cheque's code, which is cash: leave it out"
    rule = _RULES.get(name)
    return rule(value) if rule else None


def _pivot_fault(value: str) -> str | None:
    identifier = _identifier(value)
    if not _IDENTIFIER.fullmatch(identifier):
        return "neither a SIRET (14 digits) nor another identifier of 9 to 14 letters and digits"
    if _is_siret_like(identifier) and not siret_rule.is_valid(identifier):
        return "not a SIRET: its check digit is wrong"
    return None


def _day_fault(value: str) -> str | None:
    with suppress(ValueError):
        if _DAY.fullmatch(value) and date.fromisoformat(value):
            return None
    return "not a day written YYYY-MM-DD"


def _pattern(pattern: str, expected: str) -> Callable[[str], str | None]:
    compiled = re.compile(pattern)
    return lambda value: None if compiled.fullmatch(value) else f"not {expected}"


def _within(limit: int) -> Callable[[str], str | None]:
    def fault(value: str) -> str | None:
        if _DECIMAL.fullmatch(value) and abs(float(value)) <= limit:
            return None
        return f"not a decimal number of degrees between -{limit} and {limit}"

    return fault


_RULES: Mapping[str, Callable[[str], str | None]] = {
    "pivot": _pivot_fault,
    "code_postal": _pattern(r"[0-9]{5}", "a postcode of 5 digits"),
    "code_insee": _pattern(r"([013-9][0-9]|2[AB1-9])[0-9]{3}", "an INSEE code of a commune"),
    "date_maj": _day_fault,
    "latitude": _within(90),
    "longitude": _within(180),
}


def _identifier(pivot: str) -> str:
    return re.sub(r"[ .\u00a0\u202f]", "", pivot)


def _is_siret_like(identifier: str) -> bool:
    return len(identifier) == 14 and identifier.isdigit() and set(identifier) != {"0"}


def _degrees(value: str | None) -> float | None:
    return float(value) if value else None
