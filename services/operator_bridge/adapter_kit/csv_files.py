"""Files for adapters: CSV in a folder that both sides see, such as a mounted SFTP share.

A file is written under a hidden temporary name, made durable and renamed; its last line is a marker with the number of
lines before it. So whatever the share does to a rename, a file without that line is still being written.

What lies in the folder may be anything, by mistake or design. Only regular files are read, without following links or
waiting for a writer, up to a size; what is wrong with one is Unreadable, and says nothing about the files beside it.
"""

import contextlib
import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO, TypeVar

from services.operator_bridge.interface import NoAnswer, OperatorUnavailable, Unreadable
from shared.files.csv_export import raw_line
from shared.files.csv_reader import NotCsv, records

_T = TypeVar("_T")
_DELIMITER = ";"
# What the marker's line takes at most.
_TAIL = 64
_MAX_LINE_LENGTH = 100_000
_GIB = 1024**3
# Three times the statement of a whole country.
_MAX_BYTES = 4 * _GIB
# Files hold codes: nobody reads them but we and the group that we share the folder with.
_MODE = 0o640


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Raises OperatorUnavailable for whatever the folder does not let us do in the block."""
    try:
        yield
    except OSError as error:
        raise OperatorUnavailable(f"folder: {type(error).__name__}") from None


def drop(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]], marker: str) -> None:
    """Writes a file whole or not at all.

    Raises OperatorUnavailable where it is not there, NoAnswer where it may be. Folders are never made: of a share that
    is not mounted there is only an empty place, on our own disk.
    """
    hidden = path.with_name(f".{path.name}.part")
    with reachable():
        try:
            _write(hidden, columns, rows, marker)
        except OSError:
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
            raise
    try:
        hidden.rename(path)
    except OSError as error:
        raise NoAnswer(f"folder: {type(error).__name__}") from None


def instant(text: str, form: str) -> datetime | None:
    """The instant in UTC that a part of a file's name gives in a form of `strptime`; None where it gives none."""
    with contextlib.suppress(ValueError):
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    return None


def whole(
    paths: Iterable[Path], marker: str, instant_of: Callable[[Path], datetime | None]
) -> tuple[list[Path], list[str]]:
    """Those of some files that can be read and are written to their end, and what is wrong with each of the others."""
    found, faults = [], []
    for path in paths:
        try:
            if not instant_of(path) or end(path, marker) is None:
                raise Unreadable("not written to its end yet, or named by no instant")
            found.append(path)
        except Unreadable as error:
            faults.append(f"{path.name}: {error}")
    return found, faults


def read_all(paths: Iterable[Path], faults: list[str], read: Callable[[Path], Iterable[_T]]) -> Iterator[_T]:
    """The lines of files, each judged by itself; raises Unreadable at the end, with what was wrong with any before."""
    for path in paths:
        try:
            yield from read(path)
        except Unreadable as error:
            faults.append(f"{path.name}: {error}")
    if faults:
        raise Unreadable("; ".join(faults))


def read(path: Path, marker: str) -> Iterator[dict[str, str]]:
    """Streams the lines of a whole file, by the names of its first line and without what is empty.

    Raises Unreadable where it is not a file to be read, not CSV in UTF-8, or has not as many lines as its marker says.
    """
    number = 0
    try:
        with _opened(path) as binary, io.TextIOWrapper(binary, encoding="utf-8", newline="") as file:
            lines = (cells for _, cells in records(_short(file), _DELIMITER) if cells)
            names = next(lines, [])
            for cells in lines:
                if cells[0] == marker:
                    break
                number += 1
                yield {name: cell for name, cell in zip(names, cells, strict=False) if name and cell}
    except (NotCsv, UnicodeDecodeError):
        raise Unreadable(f"no CSV in UTF-8 after line {number}") from None
    except OSError as error:
        raise _unopened(error) from None
    if number != end(path, marker):
        raise Unreadable(f"{number} lines, and another number at its end")


def _short(file: TextIO) -> Iterator[str]:
    """The lines of a file; raises NotCsv where one has no end, before it fills the memory."""
    while line := file.readline(_MAX_LINE_LENGTH):
        if len(line) == _MAX_LINE_LENGTH and not line.endswith("\n"):
            raise NotCsv(0, "a line has no end")
        yield line


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]], marker: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with open(handle, "w", encoding="utf-8", newline="") as file:
        for cells in (columns, *([row.get(name, "") for name in columns] for row in rows), (marker, len(rows))):
            file.write(raw_line(cells, _DELIMITER, "\n"))
        file.flush()
        os.fsync(handle)


def end(path: Path, marker: str) -> int | None:
    """The number of lines that the last line of a file gives, if the file is written that far; raises Unreadable."""
    try:
        with _opened(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            found = re.search(rb"(?:\A|\n)%b;(\d+)\r?\n\Z" % re.escape(marker.encode()), file.read(_TAIL))
    except OSError as error:
        raise _unopened(error) from None
    return int(found[1]) if found else None


def _opened(path: Path) -> BinaryIO:
    """A regular file, open to be read; raises Unreadable for anything else, OSError where it cannot be opened."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("not a regular file: take it out of the folder")
        if found.st_size > _MAX_BYTES:
            raise Unreadable(f"longer than {_MAX_BYTES // _GIB} GiB")
        file = os.fdopen(handle, "rb")
    finally:
        if file is None:
            os.close(handle)
    return file


def _unopened(error: OSError) -> Unreadable:
    if error.errno == errno.ELOOP:
        return Unreadable("a link, which is not followed: put the file itself there")
    return Unreadable(f"cannot be opened or read ({type(error).__name__}): let us read it, or take it away")
