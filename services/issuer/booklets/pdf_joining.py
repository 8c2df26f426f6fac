"""Many documents set by `typesetting` as one PDF, piece by piece: no part is held once it is written.

What is kept until the end is one number per object and per page, so memory does not grow with the number of parts; the
first bytes leave as soon as the first part is set, and nothing is ever put on disk. Tags are kept: each part becomes a
`Part` of one `Document`, in the order of the parts, so a screen reader goes through them all. Title, language and
metadata are those of the first part. Outlines, links and named places are left out.

Source of the format: ISO 32000-1 (PDF 1.7), 7.5 (file structure), 7.9.7 (number trees), 14.7.4.4 (parent tree).
"""

import io
import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import pikepdf

_HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
_CATALOG, _PAGES, _TAGS, _DOCUMENT, _METADATA, _INFO = range(1, 7)
_LINES_PER_PIECE = 5_000

# A reference, or a string that may look as if it had one. qpdf escapes every parenthesis within a string.
_REFERENCE = re.compile(rb"\((?:\\.|[^\\)])*\)|\b(\d+) (\d+) R\b", re.DOTALL)

# The description counts the pages of the part that it came with.
_PAGE_COUNT = re.compile(rb"<xmpTPg:NPages>\d+</xmpTPg:NPages>")

Key = tuple[int, int]


def joined(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of one PDF of all these parts' pages; raises ValueError where there is no part."""
    file = _File()
    yield _HEADER
    for part in parts:
        with pikepdf.open(io.BytesIO(part)) as document:
            yield _Part(file, document).written()
    yield from file.end()


class _File:
    """The numbers of what was written: where each object begins, the pages, the tags of each part."""

    def __init__(self) -> None:
        self._offsets = array("Q", bytes(8 * (_INFO + 1)))
        self._length = len(_HEADER)
        self.pages = array("Q")
        self.tags: list[int] = []
        self.parents: list[int] = []
        """The node of each part in the parent tree."""
        self.next_key = 0
        """The first key of the parent tree that no part has."""
        self.roles = b""
        """What the parts' own tags stand for: all come of one template, so the first part's are everybody's."""

    def number(self) -> int:
        """A number for one more object."""
        self._offsets.append(0)
        return len(self._offsets) - 1

    def object(self, number: int, content: bytes) -> bytes:
        """An object, which comes next in the file."""
        self._offsets[number] = self._length
        written = b"%d 0 obj\n%b\nendobj\n" % (number, content)
        self._length += len(written)
        return written

    def end(self) -> Iterator[bytes]:
        """The trees above the parts, and the table of where everything is."""
        if not self.parents:
            raise ValueError("There is no part to join.")
        pages = b"<< /Type /Pages /Count %d /Kids [ %b ] >>" % (len(self.pages), _references(self.pages))
        tags = (
            b"<< /Type /StructTreeRoot /K [ %d 0 R ] /RoleMap %b"
            b" /ParentTree << /Kids [ %b ] >> /ParentTreeNextKey %d >>"
        ) % (_DOCUMENT, self.roles, _references(self.parents), self.next_key)
        whole = b"<< /Type /StructElem /S /Document /P %d 0 R /K [ %b ] >>" % (_TAGS, _references(self.tags))
        catalog = (
            b"<< /Type /Catalog /Pages %d 0 R /StructTreeRoot %d 0 R /Metadata %d 0 R /Lang (fr-FR)"
            b" /MarkInfo << /Marked true >> /ViewerPreferences << /DisplayDocTitle true >> >>"
        ) % (_PAGES, _TAGS, _METADATA)
        for number, content in ((_PAGES, pages), (_TAGS, tags), (_DOCUMENT, whole), (_CATALOG, catalog)):
            yield self.object(number, content)
        # A line of twenty bytes for each object: of thousands of booklets they are megabytes.
        size = len(self._offsets)
        yield b"xref\n0 %d\n0000000000 65535 f \n" % size
        for at in range(1, size, _LINES_PER_PIECE):
            yield b"".join(b"%010d 00000 n \n" % offset for offset in self._offsets[at : at + _LINES_PER_PIECE])
        yield b"trailer\n<< /Size %d /Root %d 0 R /Info %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
            size, _CATALOG, _INFO, self._length,
        )  # fmt: skip


class _Part:
    """One document on its way into the file: its objects are reached from its pages and tags, and renumbered."""

    def __init__(self, file: _File, document: pikepdf.Pdf) -> None:
        self._file, self._document = file, document
        self._tags: Any = document.Root.StructTreeRoot
        self._whole = document.make_indirect(pikepdf.Dictionary())  # stands for the tag above all parts
        self._numbers: dict[Key, int] = {
            document.Root.Pages.objgen: _PAGES,
            self._tags.objgen: _TAGS,
            self._whole.objgen: _DOCUMENT,
        }
        self._waiting: list[Key] = []

    def written(self) -> bytes:
        """All its objects."""
        file, keys = self._file, pikepdf.NumberTree(self._tags.ParentTree)
        pieces = [] if file.parents else self._heads()
        file.pages.extend([self._number(page.obj.objgen) for page in self._document.pages])
        tops = list(self._tags.K) if isinstance(self._tags.K, pikepdf.Array) else [self._tags.K]
        for top in tops:  # no documents of their own any more
            top.S, top.P = pikepdf.Name.Part, self._whole
            file.tags.append(self._number(top.objgen))
        file.parents.append(file.number())
        # Which tags are on which page, by the keys that the pages have in the whole.
        tags = b" ".join(b"%d %b" % (file.next_key + key, self._moved(value)) for key, value in keys.items())
        limits = (file.next_key, file.next_key + len(keys) - 1)
        pieces.append(file.object(file.parents[-1], b"<< /Limits [ %d %d ] /Nums [ %b ] >>" % (*limits, tags)))
        while self._waiting:
            pieces.append(self._object(self._waiting.pop()))
        file.next_key += len(keys)
        return b"".join(pieces)

    def _heads(self) -> list[bytes]:
        """What the whole takes from its first part: its description, in both forms, and the roles of its tags."""
        self._file.roles = self._moved(self._tags.get("/RoleMap", pikepdf.Dictionary()))
        metadata: Any = self._document.Root.Metadata
        metadata.write(_PAGE_COUNT.sub(b"", metadata.read_bytes()))
        heads = ((_METADATA, metadata), (_INFO, self._document.docinfo))
        return [self._file.object(number, self._content(found)) for number, found in heads]

    def _object(self, key: Key) -> bytes:
        found: Any = self._document.get_object(key)
        if isinstance(found, (pikepdf.Dictionary, pikepdf.Stream)):
            for name in ("/StructParents", "/StructParent"):
                if name in found:
                    found[name] += self._file.next_key
        return self._file.object(self._numbers[key], self._content(found))

    def _content(self, found: Any) -> bytes:
        """An object as it is written, its references renumbered."""
        if isinstance(found, pikepdf.Stream):
            data = found.read_raw_bytes()
            head = self._moved(found.stream_dict, resolved=True)
            return b"%b\nstream\n%b\nendstream" % (head, data)
        return self._moved(found, resolved=True)

    def _moved(self, found: Any, resolved: bool = False) -> bytes:
        return _REFERENCE.sub(self._renumbered, found.unparse(resolved=resolved))

    def _renumbered(self, match: re.Match[bytes]) -> bytes:
        if match[1] is None:  # a string
            return match[0]
        return b"%d 0 R" % self._number((int(match[1]), int(match[2])))

    def _number(self, key: Key) -> int:
        """The number of an object in the file; one that is met first is written in its turn."""
        if key not in self._numbers:
            self._numbers[key] = self._file.number()
            self._waiting.append(key)
        return self._numbers[key]


def _references(numbers: Iterable[int]) -> bytes:
    return b" ".join(b"%d 0 R" % number for number in numbers)
