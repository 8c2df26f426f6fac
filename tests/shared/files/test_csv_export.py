"""Lists as CSV: of any length in the same memory, and safe in a spreadsheet."""

import csv
import io
import tracemalloc
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from sqlalchemy.pool import QueuePool

from shared.files import csv_export
from shared.files.csv_export import export, export_in_parts, guarded, unguarded
from shared.http.request_context import csv_file
from tests.harness import ServiceUnderTest

# Rows as a table would have them, by ascending identifiers.
ROWS = """
    SELECT CAST(lpad(to_hex(number), 32, '0') AS uuid) AS id, number, repeat('é', 100) AS name
    FROM generate_series(1, :last) number
    WHERE CAST(lpad(to_hex(number), 32, '0') AS uuid) > :after ORDER BY number LIMIT :limit
"""


def exported(issuer: ServiceUnderTest, number: int, separator: str = ",") -> Iterator[str]:
    return export_in_parts(issuer.runtime.engine, ROWS, {"last": number}, separator)


def peak_bytes(issuer: ServiceUnderTest, number: int) -> int:
    """The most memory that an export of so many rows takes while somebody reads it."""
    tracemalloc.start()
    try:
        lines = sum(part.count("\r\n") for part in exported(issuer, number))
        assert lines == number + 1
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_fifty_thousand_rows_take_the_memory_of_a_thousand(issuer: ServiceUnderTest) -> None:
    peak_bytes(issuer, 1_000)  # whatever is loaded once
    small, large = peak_bytes(issuer, 1_000), peak_bytes(issuer, 50_000)
    assert large < small * 1.5, (small, large)
    assert large < 2_000_000


@pytest.mark.parametrize("number", [0, 1, 499, 500, 501, 1_000])
def test_every_row_is_there_once_whatever_the_size_of_the_parts(issuer: ServiceUnderTest, number: int) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(exported(issuer, number)))))
    assert [int(row["number"]) for row in rows] == list(range(1, number + 1))


def exported_at_once(issuer: ServiceUnderTest, number: int) -> Iterator[str]:
    return export(issuer.runtime.engine, ROWS, {"last": number, "after": UUID(int=0), "limit": number})


@pytest.mark.parametrize("number", [0, 1, 20_000])
def test_a_list_of_one_instant_has_every_row_once(issuer: ServiceUnderTest, number: int) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(exported_at_once(issuer, number)))))
    assert [int(row["number"]) for row in rows] == list(range(1, number + 1))


@pytest.mark.parametrize("begin", [exported, exported_at_once])
def test_a_reader_that_stands_still_holds_no_connection(
    begin: Callable[[ServiceUnderTest, int], Iterator[str]], issuer: ServiceUnderTest
) -> None:
    reading = begin(issuer, 20_000)
    next(reading)
    next(reading)
    pool = issuer.runtime.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0


def test_semicolons_come_with_the_mark_that_french_spreadsheets_want(issuer: ServiceUnderTest) -> None:
    content = "".join(exported(issuer, 1, ";"))
    assert content.encode().startswith(b"\xef\xbb\xbfid;number;name\r\n")
    assert not "".join(exported(issuer, 1)).startswith("\ufeff")


@pytest.mark.parametrize("text", ["=1+1", "+33", "-2", "@x", "\tx", "\rx"])
def test_what_a_spreadsheet_would_run_is_text_and_can_be_read_back(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text
    assert csv_export.line([text]).lstrip('"').startswith("'")


@pytest.mark.parametrize("parting", [",", ";", "\t", "\n", "\r\n", ';"'])
def test_what_would_begin_a_cell_where_another_separator_is_expected_is_text_too(parting: str) -> None:
    text = f"Vu{parting}=1+1"
    assert guarded(text) == f"Vu{parting.rstrip(chr(34))}'{parting[1:] if chr(34) in parting else ''}=1+1"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", ["", "'", "'quoted'", "a=b", "1", "''=1", "9h-12h, 14h-17h", "a; b\nc"])
def test_any_other_text_is_left_as_it_is(text: str) -> None:
    assert guarded(text) == unguarded(text) == text


def test_numbers_are_numbers() -> None:
    assert csv_export.line([-5, -1.5, True, None]) == "-5,-1.5,yes,\r\n"


def test_a_list_that_fails_at_once_does_not_begin() -> None:
    def failing() -> Iterator[str]:
        raise OSError("gone")
        yield ""

    with pytest.raises(OSError, match="gone"):
        csv_file("list", failing())


def test_a_list_whose_reader_goes_away_lets_go_of_what_it_reads_from() -> None:
    closed = []

    def read() -> Iterator[str]:
        try:
            yield from ("a", "b")
        finally:
            closed.append(True)

    answer = csv_file("list", read())
    assert next(iter(answer.response)) == "a"
    answer.close()
    assert closed == [True]
