"""What a place's line says in words: its closed lists, its labels, and the details that are kept as they are.

What the schema's closed lists do not know is left out and told, so that whatever is kept can be exported again.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shared.places import vocabulary
from shared.places.vocabulary import CARE, CLOSED, DETAILS, LONGEST_SUMMARY, PUBLICS, RENAMED_COLUMNS, SERVICES

_PUBLICS_V0 = "publics_accueillis"
_LABELS = (*vocabulary.LABELS, "labels_nationaux", "labels_autres")


@dataclass(slots=True)
class Details:
    """What a line says in words. `left_out` has a column and a reason each."""

    services: tuple[str, ...] = ()
    publics: tuple[str, ...] = ()
    typologies: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    kept: dict[str, str] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def read(values: Mapping[str, str], separator: str) -> Details:
    """Reads the columns of a line, in the words of v1; `separator` is that of the file's lists."""
    line = _Line(values, separator)
    labels = vocabulary.label_groups(line.items(*_LABELS))
    found = Details(typologies=line.items("typologie"), labels=tuple(label for group in labels for label in group))
    publics = line.items(PUBLICS, _PUBLICS_V0)
    care = [item for item in publics if item in vocabulary.CARE_AMONG_PUBLICS]
    found.services = _closed(found, SERVICES, line.items(SERVICES))
    found.publics = _closed(found, PUBLICS, tuple(item for item in publics if item not in care))
    for column in DETAILS:
        items = (*line.items(*line.columns(column)), *(care if column == CARE else ()))
        text = "|".join(_closed(found, column, items)) if column in CLOSED else _text(found, column, line)
        if text:
            found.kept[column] = text
    return found


@dataclass(frozen=True, slots=True)
class _Line:
    values: Mapping[str, str]
    separator: str

    def columns(self, column: str) -> Iterator[str]:
        """The column of v1, and what v0.1 called it."""
        yield column
        yield from (older for older, newer in RENAMED_COLUMNS.items() if newer == column)

    def items(self, *columns: str) -> tuple[str, ...]:
        """The entries of list columns, without blanks and repetitions, in their order."""
        # A bar separates in either version: it could not be written in a list of v1.
        marks = f"[{re.escape(self.separator)}|]"
        parts = (part.strip() for column in columns for part in re.split(marks, self.values.get(column, "")))
        return tuple(dict.fromkeys(filter(None, parts)))

    def text(self, column: str) -> str:
        """The first of its columns that says something."""
        return next(filter(None, (self.values.get(name, "") for name in self.columns(column))), "")


def _closed(found: Details, column: str, items: tuple[str, ...]) -> tuple[str, ...]:
    known, unknown = vocabulary.known(column, items)
    if unknown:
        listed = ", ".join(f"“{item[:80]}”" for item in unknown[:10])
        found.left_out.append((column, f"left out, as the national list does not have it: {listed}"))
    return known


def _text(found: Details, column: str, line: _Line) -> str:
    text = line.text(column)
    if column == "telephone" and text:
        number = vocabulary.telephone(text)
        if number is None:
            found.left_out.append((column, "left out: not a telephone number written like +33553690000"))
        return number or ""
    if column == "presentation_resume" and len(text) > LONGEST_SUMMARY:
        found.left_out.append((column, f"left out: longer than {LONGEST_SUMMARY} characters"))
        return ""
    return text
