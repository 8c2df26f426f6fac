"""Documents are accessible PDFs, the same each time, and what people typed stays text."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pikepdf
import pytest
from pypdf import PdfReader

from shared.files import pdf_documents
from shared.values import french_format

LETTER = Path(__file__).parent / "typst" / "letter.typ"
DATA = {"title": "État", "text": "#panic() *L’été* $x$ <a>", "amount": french_format.in_figures(123450), "code": "0O1I"}
AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_document_has_a_title_a_language_tags_and_only_embedded_fonts() -> None:
    with pikepdf.open(io.BytesIO(pdf_documents.pdf(LETTER, DATA, AT))) as document:
        root = document.Root
        assert document.docinfo["/Title"] == "État"
        assert root["/Lang"] == "fr-FR"
        assert root["/MarkInfo"]["/Marked"]
        assert "/StructTreeRoot" in root
        fonts = [font["/DescendantFonts"][0] for _, font in document.pages[0]["/Resources"]["/Font"].items()]
        names = {str(font["/BaseFont"]).partition("+")[2] for font in fonts}
        assert all("/FontFile2" in font["/FontDescriptor"] or "/FontFile3" in font["/FontDescriptor"] for font in fonts)
    assert {name.removesuffix("-Identity-H") for name in names} >= {"SourceSansPro-Regular", "DejaVuSansMono"}


def test_what_a_person_typed_stays_text() -> None:
    text = PdfReader(io.BytesIO(pdf_documents.pdf(LETTER, DATA, AT))).pages[0].extract_text()
    assert "#panic() *L’été* $x$ <a>" in text


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("李小龍", "???"),
        ("Zoé 😀 Ελένη", "Zoé ? Ελένη"),
        ("\U00010fff\ufffe!", "??!"),
        ("Юлия", "Юлия"),
        ("Zoe\u0301 e\u1ab0t \\\u20dd\n\u0303", "Zoé e?t \\?"),
        ("\x07\x7f\u1ab0", "???"),
    ],
)
def test_what_no_font_can_show_is_a_question_mark(typed: str, shown: str) -> None:
    text = PdfReader(io.BytesIO(pdf_documents.pdf(LETTER, DATA | {"text": typed}, AT))).pages[0].extract_text()
    assert shown in text


MARKS = "\u1ab0\u20dd\u093e\u1dc0\u0f39\u0378\u200d\u0085\U0001e8d0\U000e0100\U0001f3fb\ue000"


@pytest.mark.parametrize("letter", ['"', "\\", "r", "é", "\x7f", "\n", "ा"])
@pytest.mark.parametrize("mark", MARKS)
def test_no_accent_on_any_letter_stops_a_document(letter: str, mark: str) -> None:
    assert pdf_documents.pdf(LETTER, DATA | {"text": letter + mark + letter}, AT).startswith(b"%PDF")


def test_the_same_data_gives_the_same_bytes() -> None:
    assert pdf_documents.pdf(LETTER, DATA, AT) == pdf_documents.pdf(LETTER, DATA, AT)


@pytest.mark.parametrize(
    ("cents", "figures", "words"),
    [
        (0, "0,00 €", "zéro euro"),
        (100, "1,00 €", "un euro"),
        (123450, "1 234,50 €", "mille deux cent trente-quatre euros et cinquante centimes"),
        (100_000_000, "1 000 000,00 €", "un million d’euros"),
        (-1001, "−10,01 €", "moins dix euros et un centime"),
    ],
)
def test_amounts_are_written_in_figures_and_in_words(cents: int, figures: str, words: str) -> None:
    assert french_format.in_figures(cents).replace("\u202f", " ").replace("\xa0", " ") == figures
    assert french_format.in_words(cents) == words
