"""Reading the accountant's file of payments: CSV with a line per payment, as French spreadsheets write it.

UTF-8 or Windows-1252, commas or semicolons, columns in any order, named in French or English. Amounts are euros
(`1 234,50` or `1234.50`), days are `2026-11-30` or `30/11/2026`.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from stdnum.fr import siret as siret_rule

from shared.files.csv_reader import NotCsv, delimiter_of, records
from shared.files.file_import import LONGEST_HEAD, has_head, lines_at_least
from shared.problems import Invalid
from shared.values import cheque_code, clock
from shared.values.text_rules import HOLDS_CODE, is_line

MAX_LINES = 10_000
MAX_BYTES = 5_000_000
_MAX_PHYSICAL_LINES = 3 * MAX_LINES
_MAX_REFERENCE = 200

COLUMNS: Mapping[str, Sequence[str]] = {
    "statement": ("statement", "etat", "état", "numero", "numéro"),
    "reference": ("reference", "référence"),
    "amount": ("amount", "montant"),
    "paid_on": ("paid_on", "date", "date_paiement", "paye_le", "payé_le"),
    "siret": ("siret",),
}
_NAMED = {name: column for column, names in COLUMNS.items() for name in names}

_NUMBER = re.compile(r"(20[0-9]{2})-([0-9]{1,9})")
# In the midst of a text only as it is written: 2026-11 may be a month there.
_WITHIN = re.compile(r"(?<![0-9-])20[0-9]{2}-[0-9]{5,9}(?![0-9-])")
_AMOUNT = re.compile(r"([0-9]{1,9}|[0-9]{1,3}(?: [0-9]{3}){1,2})(?:[.,]([0-9]{1,2}))?(?: ?€| ?EUR)?")
_SPACES = re.compile(r"[\s\u00a0\u202f]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A payment as typed: for a statement by its number, or by a reference that does not contain one."""

    number: int
    statement: str | None
    reference: str
    amount_cents: int
    paid_on: date
    siret: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line, and what is expected."""

    number: int
    field: str
    reason: str


class _Wrong(ValueError):
    """The field that is wrong, and the reason."""


def read(content: bytes) -> list[Line | Fault]:
    """The lines of a file that are not empty, with their physical numbers; raises Invalid where it is no such file."""
    text = _decode(content)
    if lines_at_least(text) > _MAX_PHYSICAL_LINES:
        raise Invalid(f"At most {MAX_LINES} lines at once, and few empty ones.", slug="too-many-lines")
    if not has_head(text):
        raise Invalid(f"The first line names the columns: at most {LONGEST_HEAD} characters.", slug="file-refused")
    rows = list(_rows(text))
    if not rows:
        raise Invalid("The file is empty: its first line names the columns.", slug="file-refused")
    columns = _columns(rows[0][1])
    filled = [(number, values) for number, values in rows[1:] if any(value.strip() for value in values)]
    if len(filled) > MAX_LINES:
        raise Invalid(f"At most {MAX_LINES} lines at once; these are {len(filled)}.", slug="too-many-lines")
    return [_line(number, columns, values) for number, values in filled]


def _decode(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise Invalid(f"At most {MAX_BYTES} bytes at once; these are {len(content)}.", slug="file-too-large")
    if b"\0" in content:
        raise Invalid("The file is not text: a CSV file is expected.", slug="file-refused")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    head = text.partition("\n")[0]
    try:
        yield from records(io.StringIO(text, newline=""), delimiter_of(head, ";,\t"))
    except NotCsv as error:
        raise Invalid(f"The file is not CSV: line {error.line}: {error}.", slug="file-refused") from None


def _columns(heads: Sequence[str]) -> list[str]:
    """What each column of the file is; raises Invalid where a column is strange, missing or there twice."""
    names = [_SPACES.sub("_", head.strip().lower()) for head in heads]
    columns = [_NAMED.get(name, "") for name in names]
    missing = [name for name in ("amount", "paid_on") if name not in columns]
    if not {"statement", "reference"} & set(columns):
        missing.append("statement or reference")
    faults = {
        # By their place: where the first line is missing, these are not names of columns but what nobody should repeat.
        "not known": [f"column {place}" for place, column in enumerate(columns, start=1) if not column],
        "missing": missing,
        "there twice": sorted({name for name in columns if name and columns.count(name) > 1}),
    }
    if any(faults.values()):
        explained = "; ".join(f"{fault}: {', '.join(of)}" for fault, of in faults.items() if of)
        raise Invalid(
            f"The first line names the columns, any of {', '.join(COLUMNS)}. {explained}.".capitalize(),
            slug="file-refused",
        )
    return columns


def _line(number: int, columns: Sequence[str], values: Sequence[str]) -> Line | Fault:
    try:
        if len(values) != len(columns):
            raise _Wrong("", f"{len(values)} fields where the first line names {len(columns)}.")
        cells = {name: _SPACES.sub(" ", value).strip() for name, value in zip(columns, values, strict=True)}
        for name, cell in cells.items():
            if cheque_code.stands_in(cell):
                raise _Wrong(name, HOLDS_CODE)
        return Line(
            number,
            _statement(cells.get("statement", ""), cells.get("reference", "")),
            _reference(cells.get("reference", "")),
            _cents(cells["amount"]),
            _day(cells["paid_on"]),
            _siret(cells.get("siret", "")),
        )
    except _Wrong as wrong:
        return Fault(number, *wrong.args)


def _statement(text: str, reference: str) -> str | None:
    """The number of the statement: typed, or found in the reference, as in `VIR CHEQUES 2026-00042`."""
    if text:
        number = _NUMBER.fullmatch(text)
        if not number:
            reason = f"“{text[:40]}” is not the number of a statement: one like 2026-00042 is expected."
            raise _Wrong("statement", reason)
        return f"{number[1]}-{int(number[2]):05d}"
    found = set(_WITHIN.findall(reference))
    if len(found) > 1:
        raise _Wrong("reference", "It names several statements: a line for each, with its amount, is expected.")
    if not found and not reference:
        raise _Wrong("statement", "Neither a statement nor a reference is given: at least one is expected.")
    return found.pop() if found else None


def _reference(text: str) -> str:
    if len(text) > _MAX_REFERENCE or not is_line(text):
        raise _Wrong("reference", f"At most {_MAX_REFERENCE} characters on one line are expected.")
    return text


def _cents(text: str) -> int:
    found = _AMOUNT.fullmatch(text)
    cents = int(found[1].replace(" ", "")) * 100 + int((found[2] or "").ljust(2, "0")) if found else 0
    if cents <= 0:
        raise _Wrong("amount", f"“{text[:40]}” is not an amount paid: euros above 0 like 1234,50 are expected.")
    return cents


def _day(text: str) -> date:
    for form in ("%Y-%m-%d", "%d/%m/%Y"):
        try:
            day = datetime.strptime(text, form).replace(tzinfo=clock.PARIS).date()
        except ValueError:
            continue
        if not date(2000, 1, 1) <= day <= clock.today():
            raise _Wrong("paid_on", f"{day} is not a day on which something was paid: today at the latest is expected.")
        return day
    raise _Wrong("paid_on", f"“{text[:40]}” is not a day: one like 2026-11-30 or 30/11/2026 is expected.")


def _siret(text: str) -> str | None:
    digits = text.replace(" ", "")
    if digits and not siret_rule.is_valid(digits):
        raise _Wrong("siret", f"“{text[:40]}” is not a SIRET: 14 digits whose check digit is right are expected.")
    return digits or None
