"""The files of the simulated APTIC: what it takes from a folder, what it writes there, and what goes wrong."""

import contextlib
import csv
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.simulators.faults import Faults

Line = dict[str, Any]

ORDER = {
    "reference": "reference", "ordre": "operation", "contrat": "contract", "cheque": "cheque", "code": "code",
    "montant": "amount_cents", "fin_validite": "valid_until", "mandat": "payment_order", "structure": "structure",
    "siret": "siret", "nom": "name", "debut": "starts_on", "fin": "ends_on", "remboursement": "redemption",
    "date": "redeemed_at", "motif": "reason",
}  # fmt: skip
"""The columns of an order, and what the books call them."""
ACKNOWLEDGEMENT = ("contrat", "reference", "resultat", "motif")
STATEMENT = (
    "type", "contrat", "reference", "cheque", "structure", "montant", "date", "statut", "rembourse", "versement",
    "remboursement",
)  # fmt: skip

_END = "FIN"


class Folder:
    """The folder that both sides see."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self.path = path
        self.faults = faults
        self._spoilt_files: dict[Path, bytes] = {}
        self._number = 0
        self._late: list[bytes] = []
        self._last_statement = b""

    def make(self) -> None:
        """Makes both sides' folders."""
        for name in ("depot", "retour"):
            (self.path / name).mkdir(parents=True, exist_ok=True)

    def empty(self) -> None:
        """Takes away all that lies there."""
        self._spoilt_files.clear()
        self._late.clear()
        self._last_statement = b""
        for path in (path for name in ("depot", "retour") for path in (self.path / name).iterdir()):
            path.unlink()

    @property
    def gone(self) -> bool:
        """Whether the share is away for good."""
        return not (self.path / "retour").exists()

    def go(self) -> None:
        """Takes the share away for good, with what lies in it."""
        for name in ("depot", "retour"):
            with contextlib.suppress(FileNotFoundError):
                (self.path / name).rename(self.path / f"gone-{name}")

    def come_back(self) -> None:
        """Brings the share back."""
        for name in ("depot", "retour"):
            with contextlib.suppress(FileNotFoundError):
                (self.path / f"gone-{name}").rename(self.path / name)

    def take(self) -> Iterator[list[Line]]:
        """The orders of each file that is whole, oldest first; the file is taken away once its orders are done."""
        for path in sorted((self.path / "depot").glob("ORD-*.csv")):
            with path.open(encoding="utf-8", newline="") as file:
                lines = list(csv.DictReader(file, delimiter=";"))
            if not lines or (lines[-1]["reference"], lines[-1]["ordre"]) != (_END, str(len(lines) - 1)):
                continue
            yield [_order(line) for line in lines[:-1]]
            path.unlink()

    def give(self, kind: str, columns: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> None:
        """Writes a file for the other side, or what becomes of one when things go wrong."""
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, delimiter=";", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(lines)
        text.write(f"{_END};{len(lines)}\r\n")
        content = text.getvalue().encode()
        if kind == "ACC" and self.faults.happens("disorder_files"):
            self._late.append(content)
            return
        if kind == "REL":
            self._last_statement = content
        for _ in range(2 if kind == "ACC" and self.faults.happens("repeat_files") else 1):
            self._write(kind, content, self._spoilt(kind, content))
        while self._late:
            late = self._late.pop()
            self._write("ACC", late, late)

    def give_again(self) -> bool:
        """Writes the last statement once more under a name of now, if there was one."""
        if self._last_statement:
            self._write("REL", self._last_statement, self._last_statement)
        return bool(self._last_statement)

    def _write(self, kind: str, content: bytes, spoilt: bytes) -> None:
        self._number += 1
        path = self.path / "retour" / f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z-{self._number:05}.csv"
        if spoilt != content:
            self._spoilt_files[path] = content
        hidden = path.with_name(f".{path.name}.part")
        hidden.write_bytes(spoilt)
        hidden.rename(path)

    def _spoilt(self, kind: str, content: bytes) -> bytes:
        """The content as it arrives."""
        if self.faults.happens("malformed_body"):
            return b"\xff\xfe;\x00" + content
        if kind == "REL" and self.faults.happens("malformed_statement"):
            return content.replace(b";1000;", b";10,00;", 1)
        return content[: len(content) // 2] if self.faults.happens("error") else content

    def finish(self) -> None:
        """Puts right what was half-written or malformed."""
        for path, content in self._spoilt_files.items():
            path.write_bytes(content)
        self._spoilt_files.clear()


class Share(Faults):
    """Faults of which one is that the share is away, for so many seconds or until all is well."""

    def __init__(self, names: Sequence[str], depot: Path) -> None:
        super().__init__(names)
        self._depot, self._away = depot, depot.with_name("away")

    def order(self, name: str, times: int, seconds: float) -> None:
        """Makes a fault happen; raises KeyError."""
        super().order(name, times, seconds)
        if name == "unavailable" and self._depot.exists():
            self._depot.rename(self._away)
            threading.Timer(seconds, self._back).start()

    def clear(self) -> None:
        """Ends all faults."""
        super().clear()
        self._back()

    def _back(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # it is back already
            self._away.rename(self._depot)


def _order(line: Mapping[str, str]) -> Line:
    fields: Line = {ORDER[name]: value for name, value in line.items() if value}
    return fields | {"amount_cents": int(fields.get("amount_cents", 0))}
