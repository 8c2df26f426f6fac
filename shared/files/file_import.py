"""Importing a file: on trial or for good, its good lines or all or nothing, and recognised if it comes twice.

A trial is the real import, rolled back. A use case takes `ImportOptions`; its view reads them by
`@blueprint.arguments(ImportOptionsQuery, **IMPORT_OPTIONS)` and is `@idempotent(trials=True)`, as the answer to a
trial is not kept.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from marshmallow import RAISE, Schema, fields, post_load, validate
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.problems import Invalid

BEST_EFFORT, ALL_OR_NOTHING = "best-effort", "all-or-nothing"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import a file."""

    dry_run: bool = False
    mode: str = BEST_EFFORT

    @property
    def all_or_nothing(self) -> bool:
        """Whether one bad line keeps the whole file out."""
        return self.mode == ALL_OR_NOTHING


class ImportOptionsQuery(Schema):
    """How to import a file, as query parameters."""

    dry_run = fields.Bool(
        load_default=False,
        metadata={"description": "Only say what would become of each line: the same report, and no effect at all."},
    )
    mode = fields.Str(
        load_default=BEST_EFFORT,
        validate=validate.OneOf([BEST_EFFORT, ALL_OR_NOTHING]),
        metadata={"description": "What a bad line keeps out: itself, or the whole file."},
    )

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> ImportOptions:
        return ImportOptions(**data)


# A slip in the name of `dry_run` must not import for good.
IMPORT_OPTIONS: Mapping[str, Any] = {"location": "query", "unknown": RAISE}


class NothingTaken(Invalid, slug="nothing-taken", title="Nothing was taken in"):
    """A file to import whole or not at all has a bad line; `report` has the fault of each bad line."""


class FileColumns:
    """The columns of a table of imported files, recognised by their SHA-256."""

    digest: Mapped[str] = mapped_column(primary_key=True)
    imported_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class NotText(ValueError):
    """A file is no text that can be read; the message says what it is, and where."""


def text_of(content: bytes) -> tuple[str, str]:
    """The text of a file and its encoding: UTF-8, or Windows-1252, which French spreadsheets write. Raises NotText."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotText("the file is UTF-16; save it as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as not_utf8:
        try:
            return content.decode("cp1252"), "cp1252"
        except UnicodeDecodeError:
            at = content.count(b"\n", 0, not_utf8.start) + 1
            raise NotText(f"the file is neither UTF-8 nor Windows-1252 text (line {at})") from None


LONGEST_HEAD = 20_000
"""Characters of a file's first line, which names its columns."""


def lines_at_least(text: str) -> int:
    """How many lines a text has, or one less; before it is split, as a file of nothing but line ends is a bomb."""
    return max(text.count("\n"), text.count("\r"))


def has_head(text: str) -> bool:
    """Whether the first line is short enough to name columns."""
    end = text.find("\n", 0, LONGEST_HEAD + 1)
    return end >= 0 or len(text) <= LONGEST_HEAD


def file_digest(content: bytes) -> str:
    """SHA-256 of a file as sent, in hexadecimal: the same file twice has the same one."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def taking(session: Session, options: ImportOptions) -> Iterator[None]:
    """Rolls the transaction back after the block where the import is a trial; use no rows after it."""
    yield
    if options.dry_run:
        session.flush()  # what the database would refuse, it refuses a trial too
        session.rollback()


def first_imported_at(session: Session, digest: str, files: type[FileColumns]) -> datetime | None:
    """Records a file; returns when the same one was first imported, None where it is new."""
    fresh = pg.insert(files).values(digest=digest).on_conflict_do_nothing().returning(files.digest)
    if session.scalar(fresh):
        return None
    return session.scalar(sa.select(files.imported_at).where(files.digest == digest))


def require_whole(options: ImportOptions, refused: int, lines: int, report: Mapping[str, Any]) -> None:
    """Raises NothingTaken with this JSON-ready report if all or nothing is requested and a line is refused."""
    if options.all_or_nothing and refused:
        refusals = "1 line is refused" if refused == 1 else f"{refused} lines are refused"
        raise NothingTaken(f"{refusals} of {lines}, so nothing went in: see `report`.", report=report)
