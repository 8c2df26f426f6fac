"""APTIC, the operator until January 2024: files in a folder, no API.

Its interface is not public. This adapter follows the contract assumed here, which its simulator keeps to; it stands for
any operator that exchanges files. OPERATOR_APTIC_FOLDER is a folder that both sides see, such as a mounted SFTP share,
with `depot/` (from us) and `retour/` (from them). Neither is ever made by us: a share that is not mounted is an
operator that is not there. Files are CSV: UTF-8, `;`, amounts in cents, a line of names, and as the last line
`FIN;<number of lines>`. A file is written under a hidden temporary name and renamed when it is whole; one whose last
line is missing is still being written, and is not read. One that cannot be read, or never is whole, or is no regular
file, hides nothing that the others say, but is told of at each reading until it is put right or taken away. So too a
line that cannot be read.

* `depot/ORD-<UTC instant>-<reference>.csv`: orders, worked off in their order within a day and taken away then, as
  they hold codes. A reference that was seen before is not worked off again, and acknowledged with its first outcome.
* `retour/ACC-<UTC instant>[-…].csv`, acknowledgements: `contrat;reference;resultat;motif`, `accepte` or `refuse`.
* `retour/REL-<UTC instant>[-…].csv`, the monthly statement: `type;contrat;reference;cheque;structure;montant;date;
  statut;rembourse;versement;remboursement`: since the last one each `remboursement` (at APTIC's own till) and each
  `versement` (a line per redemption paid), then every activated `cheque` as it stands.

A cheque can be spent with it, and its redemption declared, only once it is activated (`activate`) by the number of the
payment order (mandat) that paid for it. One that was cancelled may come again under any contract, and is paid again.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from services.operator_bridge.adapter_kit import csv_files, mapping
from services.operator_bridge.interface import ChequeStatus, Line, Operator, Order, Paid, Period, Receipt, Redeemed
from shared.values import clock

_END = "FIN"
_INSTANT = "%Y%m%dT%H%M%S%f"
_NAME = re.compile(r"(ACC|REL)-\d{8}T\d{12}Z.*\.csv")
_COLUMNS = {
    "reference": "reference", "kind": "ordre", "contract": "contrat", "cheque_id": "cheque", "code": "code",
    "amount_cents": "montant", "valid_until": "fin_validite", "payment_order": "mandat", "structure_id": "structure",
    "siret": "siret", "name": "nom", "starts_on": "debut", "ends_on": "fin", "redemption": "remboursement",
    "redeemed_at": "date", "reason": "motif",
}  # fmt: skip


class Adapter(Operator):
    name = "APTIC"
    required = ("FOLDER",)
    activates = True
    own_till = True
    statement_lag = timedelta(days=1)
    batch_size = 1000
    rate = 1.0

    def push(self, orders: Sequence[Order]) -> Iterator[Receipt]:
        now = clock.now().strftime(_INSTANT)
        path = Path(self.settings["FOLDER"], "depot", f"ORD-{now}Z-{orders[0].reference}.csv")
        csv_files.drop(path, list(_COLUMNS.values()), [mapping.write(order, **_COLUMNS) for order in orders], _END)
        return (Receipt(order.reference, "unknown", "deposited") for order in orders)

    def fetch(self, period: Period) -> Iterator[Line]:
        since = period.since.astimezone(UTC).strftime(_INSTANT) if period.since else ""
        returned = [path for path in self._returned() if path.name[4:] >= since]
        whole, faults = csv_files.whole(returned, _END, _instant)
        last = max((path for path in whole if path.name.startswith("REL")), default=None)
        yield from csv_files.read_all(whole, faults, lambda path: _lines(path, period.contract, path == last))

    def statement_date(self, contract: str) -> datetime | None:
        whole, _ = csv_files.whole(self._returned(), _END, _instant)
        return max(filter(None, (_instant(path) for path in whole if path.name.startswith("REL"))), default=None)

    def _returned(self) -> list[Path]:
        """What they gave, oldest first: acknowledgements, then statements; whatever else lies there is not theirs."""
        with csv_files.reachable():
            lying = list(Path(self.settings["FOLDER"], "retour").iterdir())
        return sorted(path for path in lying if _NAME.fullmatch(path.name))


def _instant(path: Path) -> datetime | None:
    return csv_files.instant(path.name[4:24], _INSTANT)


def _lines(path: Path, contract: str, last: bool) -> Iterator[Line]:
    """The lines of one file about a contract; how cheques stand, of the last statement alone."""
    lines = mapping.Lines()
    yield from filter(None, lines.read(partial(_line, contract, last), csv_files.read(path, _END)))
    lines.check()


def _line(contract: str, last: bool, line: Mapping[str, str]) -> Line | None:
    kind, concerns_us = line.get("type", "acquittement"), mapping.member(line, "contrat", str) == contract
    return mapping.line_of(_READERS, kind, line) if concerns_us and (last or kind != "cheque") else None


def _reader(kind: type[Line], **names: str) -> Callable[[Mapping[str, str]], Line]:
    read: Callable[[Any], Line] = mapping.reader(kind, **names)
    return lambda line: read({name: _MADE.get(name, str)(value) for name, value in line.items()})


def _cents(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text  # else no number of ours


_WORDS = {
    "accepte": "accepted", "refuse": "refused",
    "actif": "registered", "bloque": "blocked", "annule": "cancelled", "rembourse": "redeemed",
}  # fmt: skip
_MADE: Mapping[str, Callable[[str], Any]] = {
    "resultat": lambda text: _WORDS.get(text, text), "statut": lambda text: _WORDS.get(text, text),
    "montant": _cents, "rembourse": _cents, "remboursement": lambda text: [text],
}  # fmt: skip
_READERS = {
    "acquittement": _reader(Receipt, outcome="resultat", reason="motif"),
    "remboursement": _reader(Redeemed, cheque_id="cheque", structure_id="structure", amount_cents="montant",
                             redeemed_at="date"),
    "versement": _reader(Paid, payment_reference="versement", paid_on="date", redemptions="remboursement"),
    "cheque": _reader(ChequeStatus, cheque_id="cheque", status="statut", value_cents="montant",
                      redeemed_cents="rembourse"),
}  # fmt: skip
