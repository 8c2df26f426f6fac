"""CSV as it is read everywhere: strictly."""

import pytest

from shared.files.csv_reader import NotCsv, delimiter_of, records


def test_records_come_with_the_number_of_their_last_line() -> None:
    lines = ["a;b\n", '"1\n', '2";3\n', "\n", "4;5\n"]
    assert list(records(lines, ";")) == [(1, ["a", "b"]), (3, ["1\n2", "3"]), (4, []), (5, ["4", "5"])]


@pytest.mark.parametrize(("line", "number"), [('a;"b\nc;d\n', 2), ('a;"b"c\n', 1)])
def test_a_quote_that_is_not_closed_or_followed_by_text_is_a_fault(line: str, number: int) -> None:
    with pytest.raises(NotCsv) as refused:
        list(records(line.splitlines(keepends=True), ";"))
    assert refused.value.line == number


def test_the_delimiter_is_the_one_that_stands_most_often() -> None:
    assert delimiter_of("a;b,c;d") == ";"
    assert delimiter_of("a,b;c") == ","
    assert delimiter_of("a\tb\tc;d", ";,\t") == "\t"
