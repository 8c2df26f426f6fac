"""Documents joined piece by piece stay whole, in order, tagged, and small in memory."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pikepdf
import pytest
from pypdf import PdfReader

from services.issuer.booklets.pdf_joining import joined
from shared.files import pdf_documents

LETTER = Path(__file__).parents[2] / "shared" / "files" / "typst" / "letter.typ"
AT = datetime(2026, 3, 1, tzinfo=UTC)
# Strings that a hasty reader takes for references, or for the end of a string.
TEXTS = ("premier 1 0 R", "(deux (3 0 R)", "trois\\) 5 0 R", "quatre é )(", "cinq")


def part(text: str) -> bytes:
    """A letter that says this, in its title too."""
    return pdf_documents.pdf(LETTER, {"title": text, "text": text, "amount": "1", "code": "X"}, AT)


@pytest.fixture(scope="module")
def whole() -> bytes:
    """A document of five letters."""
    return b"".join(joined(map(part, TEXTS)))


def test_all_pages_are_there_in_order_with_their_text(whole: bytes) -> None:
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(whole)).pages]
    assert pages == [PdfReader(io.BytesIO(part(text))).pages[0].extract_text() for text in TEXTS]


def test_the_file_is_sound_to_a_strict_reader(whole: bytes) -> None:
    with pikepdf.open(io.BytesIO(whole), attempt_recovery=False) as document:
        assert document.check_pdf_syntax() == []


def test_title_language_and_the_mark_of_accessibility_are_the_first_parts(whole: bytes) -> None:
    with pikepdf.open(io.BytesIO(whole)) as document:
        described = document.Root.Metadata.read_bytes()
        assert document.docinfo["/Title"] == TEXTS[0]
        assert document.Root["/Lang"] == "fr-FR"
        assert document.Root["/MarkInfo"]["/Marked"]
        assert document.Root["/ViewerPreferences"]["/DisplayDocTitle"]
        assert b"<pdfuaid:part>1<" in described
        assert b"NPages" not in described


def test_tags_lead_to_their_own_pages_in_reading_order(whole: bytes) -> None:
    with pikepdf.open(io.BytesIO(whole)) as document:
        tags = document.Root.StructTreeRoot
        [one] = tags.K
        assert [str(each.S) for each in (one, *one.K)] == ["/Document", *["/Part"] * len(TEXTS)]
        keys = pikepdf.NumberTree(tags.ParentTree)
        assert len(keys) == len(document.pages) == len(TEXTS)
        for page in document.pages:
            for tag in keys[int(page.obj.StructParents)]:
                assert tag.get("/Pg", page.obj).objgen == page.obj.objgen
                assert top(tag) == document.pages.index(page)


def top(tag: pikepdf.Object) -> int:
    """Which part of the document a tag is in."""
    while tag.S != "/Part":
        tag = tag.P
    return [each.objgen for each in tag.P.K].index(tag.objgen)


def test_each_piece_is_told_before_the_next_part_is_made() -> None:
    made = []

    def parts() -> Iterator[bytes]:
        for text in TEXTS:
            made.append(text)
            yield part(text)

    pieces = joined(parts())
    assert [(next(pieces)[:5], len(made)) for _ in range(2)] == [(b"%PDF-", 0), (b"5 0 o", 1)]
    list(pieces)
    assert made == list(TEXTS)


def test_no_piece_is_as_large_as_what_is_joined(whole: bytes) -> None:
    """The table at the end has a line per object: of thousands of booklets that is megabytes, and goes in pieces."""
    pieces = list(joined(map(part, TEXTS * 40)))
    assert max(map(len, pieces)) < 20 * 5_000 + 1_000 < sum(map(len, pieces)) / 10


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="no part"):
        list(joined([]))
