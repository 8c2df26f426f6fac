"""Reading CSV strictly: a quote that is never closed, or has text behind it, is a fault and not part of a cell."""

import csv
from collections.abc import Iterable, Iterator


class NotCsv(ValueError):
    """A line is no CSV; `line` is its number, and the message says why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def delimiter_of(head: str, candidates: str = ",;") -> str:
    """The delimiter that stands most often in a first line; the first of the candidates where they draw."""
    return max(candidates, key=head.count)


def records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a file, each with the number of its last physical line, from 1. Raises NotCsv."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for record in reader:
            yield reader.line_num, record
    except csv.Error as error:
        raise NotCsv(reader.line_num, str(error)) from None
