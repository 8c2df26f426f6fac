"""A list of places goes out as a file of the national schema, and comes in again as it was."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from frictionless import Resource, Schema
from hypothesis import given
from hypothesis import strategies as st

from shared.places import vocabulary
from shared.places.exporter import HEAD, line
from shared.places.line import Place
from shared.places.reader import Reading, read_places
from shared.places.vocabulary import CLOSED, COLUMNS, LABELS
from tests.shared.places.test_reader import GOOD, real_file

SCHEMA = "lieux-mediation-numerique.v1.0.2.schema.json"
FILES = (
    "lieux-lot-et-garonne-2022.v0.csv",
    "lieux-la-poste-siret.v0.csv",
    "lieux-mediation-numerique.v1.example.csv",
)
DEMO = Path(__file__).parents[3] / "demo" / "world"


def exported(places: Iterable[Place]) -> bytes:
    """The file of these places, as tables of them would give it."""
    return "".join([HEAD, *(line(dataclasses.asdict(place)) for place in places)]).encode()


def national(content: bytes) -> list[str]:
    """What the national schema finds wrong with a file."""
    schema = Schema.from_descriptor(json.loads(real_file(SCHEMA)))
    report = Resource(content, format="csv", encoding="utf-8", schema=schema).validate()
    return [error.message for task in report.tasks for error in task.errors]


def said(reading: Reading) -> list[dict[str, Any]]:
    """What a reading says of its places, but for the lines where they stood."""
    return [dataclasses.asdict(place) | {"line": None} for place in reading.places]


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_goes_out_valid_and_comes_in_as_it_was(name: str) -> None:
    first = read_places(real_file(name))
    content = exported(first.places)
    assert national(content) == []
    again = read_places(content)
    assert (again.version, again.refused) == ("v1", ())
    assert said(again) == said(first)
    assert exported(again.places) == content


def test_the_national_schema_does_find_what_is_wrong() -> None:
    [place] = read_places(",".join(GOOD).encode() + b"\n" + _row(GOOD)).places
    wrong = line(dataclasses.asdict(place)).replace("47000", "4700").replace("2026-01-31", "31/01/2026")
    assert len(national((HEAD + wrong).encode())) == 2


@pytest.mark.parametrize("name", ["structures.csv", "prescribers.csv"])
def test_a_file_of_the_present_schema_loses_nothing(name: str) -> None:
    content = (DEMO / name).read_bytes()
    given_lines = list(csv.DictReader(io.StringIO(content.decode())))
    exported_lines = list(csv.DictReader(io.StringIO(exported(read_places(content).places).decode())))
    numbers = {"latitude", "longitude"}
    assert [{name: text for name, text in each.items() if name not in numbers} for each in given_lines] == [
        {name: text for name, text in each.items() if name not in numbers} for each in exported_lines
    ]


def test_the_columns_and_the_closed_lists_are_those_of_the_schema() -> None:
    fields = json.loads(real_file(SCHEMA))["fields"]
    assert [field["name"] for field in fields] == list(COLUMNS)
    lists = {field["name"] for field in fields if "|" in field.get("constraints", {}).get("pattern", "")}
    assert lists - {"telephone", "code_insee"} == set(CLOSED)


@pytest.mark.parametrize("column", [*CLOSED])
def test_every_word_of_a_closed_list_is_one_of_the_schema(column: str) -> None:
    values = [dict.fromkeys(COLUMNS, "") | GOOD | {"services": "", "id": word, column: word} for word in CLOSED[column]]
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(values)
    assert national(written.getvalue().encode()) == []


_TEXT = st.text(alphabet="aé,;|\"'=+-@\r\n\t7 ", max_size=12)
_RECORDS = st.fixed_dictionaries(
    dict.fromkeys(("nom", "commune", "adresse", "horaires", "presentation_resume", "typologie", LABELS[-1]), _TEXT)
    | {name: st.lists(st.sampled_from(words)).map("|".join) for name, words in CLOSED.items()}
    | {
        "latitude": st.floats(-90, 90).map("{:.30f}".format),
        "pivot": st.sampled_from(["43493312300029", "00000000000000", "W472001234", "434933123"]),
        "telephone": st.sampled_from(["", "05 53 69 00 00", "+33553690000", "=1+1"]),
    }
)


@pytest.mark.slow
@given(st.lists(_RECORDS, min_size=1, max_size=3))
def test_whatever_is_taken_in_goes_out_and_comes_in_the_same(records: list[dict[str, str]]) -> None:
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(GOOD | record | {"id": f"={number}"} for number, record in enumerate(records))
    first = read_places(written.getvalue().encode())
    again = read_places(exported(first.places))
    assert said(again) == said(first)
    assert {note.field for note in again.remarks} <= {"pivot"}


def test_a_name_that_a_spreadsheet_would_run_is_guarded() -> None:
    [place] = read_places(",".join(GOOD).encode() + b"\n" + _row(GOOD | {"nom": "=cmd|calc"})).places
    assert place.name == "=cmd|calc"
    assert "'=cmd|calc" in line(dataclasses.asdict(place))


def _row(values: dict[str, str]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerow(values.values())
    return written.getvalue().encode()


def test_older_terms_that_a_table_still_has_are_said_in_the_newer_words() -> None:
    [place] = read_places(",".join(GOOD).encode() + b"\n" + _row(GOOD)).places
    old = dataclasses.asdict(place) | {"services": ["Prendre en main un ordinateur", "Couture"]}
    assert "Maîtrise des outils numériques du quotidien" in line(old)
    assert "Couture" not in line(old)
    assert vocabulary.translate("services", ["Couture"]) == ((), ("Couture",))
