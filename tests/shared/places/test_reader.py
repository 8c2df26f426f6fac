"""Files of the national schema: what is taken, what is refused and why."""

import contextlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.files.file_import import file_digest
from shared.places.line import Note
from shared.places.reader import MAX_BYTES, MAX_LINES_OF_A_RECORD, PlacesFileRefused, Reading, read_places

REAL_FILES = Path(__file__).parents[3].parent / "shared" / "data"
V1 = ["id", "pivot", "nom", "commune", "code_postal", "code_insee", "adresse", "latitude", "longitude"]
V1 += ["date_maj", "services", "courriels", "frais_a_charge", "formations_labels"]
GOOD = {
    "id": "lieu-1",
    "pivot": "43493312300029",
    "nom": "Atelier",
    "commune": "Agen",
    "code_postal": "47000",
    "code_insee": "47001",
    "adresse": "1 rue du Port",
    "latitude": "44.2",
    "longitude": "0.62",
    "date_maj": "2026-01-31",
    "services": "Compréhension du monde numérique|Loisirs et créations numériques",
}


def csv_file(*lines: Iterable[str], header: Iterable[str] = V1) -> bytes:
    return "\n".join(",".join(line) for line in (header, *lines)).encode()


def line(**changes: str) -> list[str]:
    return [(GOOD | changes).get(name, "") for name in V1]


def read_line(**changes: str) -> Reading:
    return read_places(csv_file(line(**changes)))


def real_file(name: str) -> bytes:
    path = REAL_FILES / name
    if not path.exists():
        pytest.skip(f"the reference data are not beside the project: {path}")
    return path.read_bytes()


def test_a_line_becomes_a_place() -> None:
    reading = read_line()
    place = reading.places[0]
    assert (reading.version, reading.encoding, reading.refused, reading.remarks) == ("v1", "utf-8", (), ())
    assert (place.source_id, place.siret, place.name, place.line) == ("lieu-1", "43493312300029", "Atelier", 2)
    assert (place.commune, place.postcode, place.insee_code) == ("Agen", "47000", "47001")
    assert (place.latitude, place.longitude, place.updated_on) == (44.2, 0.62, date(2026, 1, 31))
    assert place.services == ("Compréhension du monde numérique", "Loisirs et créations numériques")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("id", "", "required"),
        ("id", "x" * 201, "longer than 200"),
        ("pivot", "", "required"),
        ("pivot", "43493312300028", "check digit"),
        ("pivot", "35600000000049", "check digit"),
        ("pivot", "4.34933E+13", "neither a SIRET"),
        ("pivot", "٤٣٤٩٣٣١٢٣٠٠٠٢٩", "neither a SIRET"),
        ("nom", "", "required"),
        ("nom", "x" * 10_001, "longer than 10000"),
        ("nom", "A\x00B", "control character"),
        ("code_postal", "4700", "5 digits"),
        ("code_postal", "٤٧٠٠٠", "5 digits"),
        ("code_insee", "20001", "INSEE"),
        ("latitude", "91", "degrees"),
        ("latitude", "nan", "degrees"),
        ("longitude", "180.1", "degrees"),
        ("longitude", "1e400", "degrees"),
        ("date_maj", "31/01/2026", "YYYY-MM-DD"),
        ("date_maj", "20260131", "YYYY-MM-DD"),
        ("date_maj", "2026-02-30", "YYYY-MM-DD"),
    ],
)
def test_a_wrong_field_refuses_its_line_and_says_why(field: str, value: str, reason: str) -> None:
    reading = read_line(**{field: value})
    assert reading.places == ()
    assert [(note.line, note.field) for note in reading.refused] == [(2, field)]
    assert reason in reading.refused[0].reason


def test_every_fault_of_a_line_is_named_and_the_line_counts_once() -> None:
    reading = read_line(nom="", code_postal="?", date_maj="hier")
    assert {note.field for note in reading.refused} == {"nom", "code_postal", "date_maj"}
    assert reading.refused_lines == 1


@pytest.mark.parametrize("siret", ["35600000068539", "35600000000048", "434 933 123 00029", "434.933.123.00029"])
def test_a_right_siret_is_taken_by_the_post_offices_rule_too_and_however_it_is_spaced(siret: str) -> None:
    assert read_line(pivot=siret).places[0].siret == siret.replace(" ", "").replace(".", "")


@pytest.mark.parametrize("pivot", ["00000000000000", "000000000"])
def test_a_placeholder_of_zeros_keeps_the_place_without_a_siret(pivot: str) -> None:
    reading = read_line(pivot=pivot)
    assert reading.places[0].siret is None
    assert [(note.line, note.field) for note in reading.remarks] == [(2, "pivot")]


@pytest.mark.parametrize("pivot", ["W472001234", "434933123"])
def test_another_identifier_keeps_the_place_without_a_siret(pivot: str) -> None:
    reading = read_line(pivot=pivot)
    assert reading.places[0].siret is None
    assert "not a SIRET" in reading.remarks[0].reason


def test_places_may_share_a_siret_but_not_an_id() -> None:
    reading = read_places(csv_file(line(), line(id="lieu-2"), line(nom="Encore")))
    assert [place.source_id for place in reading.places] == ["lieu-1", "lieu-2"]
    assert reading.refused == (Note(4, "id", "already on line 2"),)


def test_an_id_whose_first_line_was_refused_is_still_free() -> None:
    reading = read_places(csv_file(line(code_postal="?"), line()))
    assert [place.line for place in reading.places] == [3]


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    reading = read_places(csv_file(line(nom='"Atelier\r\nde\nquartier"'), [], line(id="b", pivot="1"), line(id="c")))
    assert [place.line for place in reading.places] == [2, 7]
    assert reading.places[0].name == "Atelier\r\nde\nquartier"
    assert reading.refused[0].line == 6


def test_a_quote_never_closed_costs_its_own_line_only() -> None:
    following = [line(id=f"lieu-{number}") for number in range(2, MAX_LINES_OF_A_RECORD + 50)]
    reading = read_places(csv_file(line(nom='"Atelier'), *following))
    assert [(note.line, note.field) for note in reading.refused] == [(2, "")]
    assert len(reading.places) == len(following)


def test_a_line_with_too_few_or_too_many_fields_is_refused() -> None:
    reading = read_places(csv_file(line()[:-1], [*line(id="b"), "more"], [*line(id="c"), "", ""]))
    assert [note.line for note in reading.refused] == [2, 3]
    assert [place.source_id for place in reading.places] == ["c"]


@pytest.mark.parametrize("missing", ["id", "pivot", "code_postal", "date_maj"])
def test_a_missing_column_refuses_the_whole_file_and_names_it(missing: str) -> None:
    names = [name for name in V1 if name != missing]
    with pytest.raises(PlacesFileRefused, match=f"column missing: {missing}.*id, pivot, nom"):
        read_places(csv_file(header=names))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xef\xbb\xbf", b"PK\x03\x04", "id,pivot".encode("utf-16"), b"\x81id"]
)
def test_what_is_not_such_a_file_is_refused_whole(content: bytes) -> None:
    with pytest.raises(PlacesFileRefused):
        read_places(content)


def test_a_column_named_twice_refuses_the_file() -> None:
    with pytest.raises(PlacesFileRefused, match="twice: nom"):
        read_places(csv_file(header=(*V1, "nom")))


def test_a_file_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(PlacesFileRefused, match="bytes"):
        read_places(b"x" * (MAX_BYTES + 1))


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter() -> None:
    plain = csv_file(line())
    assert read_places(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")).places == read_places(plain).places


def test_a_spreadsheets_encoding_and_semicolons_are_read_and_the_encoding_is_told() -> None:
    text = csv_file(line(nom="Médiathèque")).decode().replace(",", ";")
    reading = read_places(text.encode("cp1252"))
    assert reading.encoding == "cp1252"
    assert reading.places[0].name == "Médiathèque"


OLD_SERVICES = "Prendre en main un ordinateur;Couture; ;Créer avec le numérique;Utiliser le numérique au quotidien"


def test_lists_of_the_older_schema_are_said_in_the_words_of_the_newer() -> None:
    names = ("id", "pivot", "nom", "commune", "code_postal", "adresse", "date_maj", "services", "labels_nationaux")
    values = [GOOD[name] for name in names[:7]]
    reading = read_places(csv_file([*values, OLD_SERVICES, "APTIC;CNFS"], header=names))
    assert reading.version == "v0.1"
    place = reading.places[0]
    assert place.services == ("Maîtrise des outils numériques du quotidien", "Loisirs et créations numériques")
    assert place.labels == ("Conseillers numériques", "APTIC")
    assert [(note.field, "Couture" in note.reason) for note in reading.remarks] == [("services", True)]


def test_publics_of_the_older_schema_that_need_care_are_told_as_such() -> None:
    names = (*V1[:7], "date_maj", "publics_accueillis", "conditions_acces", "courriel", "telephone")
    values = [GOOD[name] for name in names[:8]]
    said = [*values, "Adultes;Seniors (+ 65 ans);Surdité", FREE, "a@b.example", "05 53 69 00 00"]
    place = read_places(csv_file(said, header=names)).places[0]
    assert place.publics == ("Seniors",)
    assert place.details == {
        "prise_en_charge_specifique": "Surdité",
        "frais_a_charge": "Gratuit",
        "courriels": "a@b.example",
        "telephone": "+33553690000",
    }


FREE = "Gratuit : Je peux accéder gratuitement au lieu et à ses services"


def test_a_word_that_the_national_list_does_not_have_is_left_out_and_told() -> None:
    reading = read_line(services="Couture|Utilisation sécurisée du numérique")
    assert reading.places[0].services == ("Utilisation sécurisée du numérique",)
    assert [(note.line, note.field) for note in reading.remarks] == [(2, "services")]
    assert "“Couture”" in reading.remarks[0].reason


def test_an_identifier_that_is_no_siret_is_kept_as_such() -> None:
    assert read_line(pivot="W472001234").places[0].details["pivot"] == "W472001234"
    assert "pivot" not in read_line(pivot="00000000000000").places[0].details


def test_the_same_file_has_the_same_digest() -> None:
    assert file_digest(b"a") == file_digest(b"a") != file_digest(b"b")
    assert read_line().digest == file_digest(csv_file(line()))


def test_the_forty_places_of_lot_et_garonne_are_all_taken_eighteen_without_a_siret() -> None:
    reading = read_places(real_file("lieux-lot-et-garonne-2022.v0.csv"))
    assert (reading.version, len(reading.places), reading.refused) == ("v0.1", 40, ())
    assert sum(place.siret is None for place in reading.places) == 18
    assert len(reading.remarks) == 18
    assert all("zeros" in note.reason for note in reading.remarks)
    assert all(place.postcode.startswith("47") for place in reading.places)


def test_the_places_of_la_poste_are_taken_by_its_own_rule() -> None:
    reading = read_places(real_file("lieux-la-poste-siret.v0.csv"))
    assert (len(reading.places), reading.refused, reading.remarks) == (15, (), ())
    assert all((place.siret or "").startswith("356000000") for place in reading.places)
    assert len({place.siret for place in reading.places}) < 15  # one SIRET, several places


def test_the_published_example_of_v1_is_taken_although_its_header_lacks_a_quote() -> None:
    reading = read_places(real_file("lieux-mediation-numerique.v1.example.csv"))
    assert (reading.version, len(reading.places), reading.refused) == ("v1", 1, ())
    assert reading.places[0].typologies == ("TIERS_LIEUX", "ASSO")
    assert len(reading.places[0].services) == 3


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_with_the_declared_error(content: bytes) -> None:
    for given_content in (content, csv_file() + b"\n" + content):
        with contextlib.suppress(PlacesFileRefused):
            read_places(given_content)


@given(st.lists(st.lists(st.text(alphabet='a1é,;|" \n\r\x00', max_size=12), min_size=14, max_size=14), max_size=6))
def test_good_lines_go_in_whatever_stands_between_them(noise: list[list[str]]) -> None:
    lines = [entry for number, bad in enumerate(noise) for entry in (line(id=f"good-{number}"), bad)]
    quoted = [[f'"{value.replace(chr(34), chr(34) * 2)}"' for value in values] for values in lines]
    reading = read_places(csv_file(*quoted))
    assert [place.source_id for place in reading.places] == [f"good-{number}" for number in range(len(noise))]


@pytest.mark.parametrize("content", [b"id,pivot\n" + b"\n" * 2_000_000, b"," * 2_000_000])
def test_a_file_made_to_burst_the_memory_is_refused_before_it_is_cut_up(content: bytes) -> None:
    with pytest.raises(PlacesFileRefused) as refused:
        read_places(content)
    assert len(str(refused.value)) < 200
