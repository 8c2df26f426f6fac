"""What the operator that exchanges files does with files: recorded ones, half-written ones, and none."""

import os
import shutil
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest

from demo.simulators.aptic import Account, Simulator
from services.operator_bridge import interface
from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.interface import (
    ChequeStatus,
    Operator,
    OperatorUnavailable,
    Order,
    Paid,
    Period,
    Receipt,
    Redeemed,
    UnknownLine,
    Unreadable,
)

RECORDED = Path(__file__).parent / "aptic" / "retour"
LAST = "REL-20231231T230000000000Z-47.csv"
CHEQUES = [UUID(f"0198f0a0-0000-7000-8000-00000000000{number}") for number in (1, 2)]
WHOLE = Period("pass-47")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A share with files as they were recorded."""
    (tmp_path / "depot").mkdir()
    shutil.copytree(RECORDED, tmp_path / "retour")
    return tmp_path


@pytest.fixture
def operator(folder: Path) -> Operator:
    return lookup.connect("aptic", {"OPERATOR_APTIC_FOLDER": str(folder)})


def order(kind: str = "register", payment_order: str | None = None) -> Order:
    return Order(
        reference="0198f0a1-0000-7000-8000-000000000009",
        kind=kind,
        contract="pass-47",
        cheque_id=CHEQUES[0],
        code="7K3M-2Q9P-XW4T-8HJN-C" if kind == "register" else None,
        amount_cents=1000,
        valid_until=date(2026, 12, 31),
        payment_order=payment_order,
    )


def test_recorded_files_are_read_with_standings_of_the_last_statement_alone(operator: Operator) -> None:
    assert list(operator.fetch(WHOLE)) == [
        Receipt("0198f0a1-0000-7000-8000-000000000001", "accepted"),
        Receipt("0198f0a1-0000-7000-8000-000000000002", "refused", "code-inconnu"),
        Redeemed(
            "APT-000117", CHEQUES[1], UUID("0198f0a0-0000-7000-8000-0000000000aa"), 1000,
            datetime(2023, 11, 20, 13, 5, tzinfo=UTC),
        ),
        Paid("VIR-2023-12", date(2023, 12, 15), ("APT-000117",)),
        ChequeStatus(CHEQUES[0], "blocked", 1000),
        ChequeStatus(CHEQUES[1], "redeemed", 1000, 1000),
    ]  # fmt: skip
    assert operator.statement_date("pass-47") == datetime(2023, 12, 31, 23, tzinfo=UTC)


def test_files_from_an_instant_on_are_read(operator: Operator) -> None:
    lines = list(operator.fetch(Period("pass-47", since=datetime(2023, 12, 1, tzinfo=UTC))))
    assert [type(line) for line in lines] == [Paid, ChequeStatus, ChequeStatus]


def test_a_file_that_is_named_by_no_instant_is_told_of_and_hides_nothing(operator: Operator, folder: Path) -> None:
    shutil.copy(folder / "retour" / LAST, folder / "retour" / "REL-20239931T239999000000Z-47.csv")
    assert operator.statement_date("pass-47") == datetime(2023, 12, 31, 23, tzinfo=UTC)
    standings = (line for line in operator.fetch(WHOLE) if isinstance(line, ChequeStatus))
    assert (next(standings), next(standings)) == (
        ChequeStatus(CHEQUES[0], "blocked", 1000),
        ChequeStatus(CHEQUES[1], "redeemed", 1000, 1000),
    )
    with pytest.raises(Unreadable, match=r"REL-20239931T239999000000Z-47\.csv: .*named by no instant"):
        next(standings)


@pytest.mark.parametrize("end", [b"", b"FIN", b"FIN;4", b"FIN;\n", b"FINI;4\n"])
def test_a_half_written_file_is_not_read_but_told_of(operator: Operator, folder: Path, end: bytes) -> None:
    path = folder / "retour" / LAST
    path.write_bytes(path.read_bytes().removesuffix(b"FIN;4\n") + end)
    with pytest.raises(Unreadable, match=LAST):
        list(operator.fetch(WHOLE))
    assert Paid not in [type(line) for line in _read(operator)]
    assert ChequeStatus(CHEQUES[0], "registered", 1000) in _read(operator)


def directory(path: Path) -> None:
    path.mkdir()
    (path / "within.csv").write_text("FIN;0\n", encoding="utf-8")


def forbidden(path: Path) -> None:
    """A file that nobody may read; where the tests are root's, a link that goes round in a circle."""
    path.write_text("FIN;0\n", encoding="utf-8")
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.unlink()
        path.symlink_to(path)


def endless(path: Path) -> None:
    with path.open("wb") as file:
        file.seek(5 * 1024**3)  # a hole: it takes no room on the disk
        file.write(b"\nFIN;1\n")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # an address has 107 characters
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("name", ["ACC-20200101T000000000000Z.csv", "REL-20240401T000000000000Z-47.csv"])
@pytest.mark.parametrize(
    "make",
    [
        directory,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.parent / LAST),
        lambda path: path.symlink_to("/dev/zero"),
        os.mkfifo,
        forbidden,
        endless,
        listening,
    ],
    ids=["directory", "dangling link", "link", "device", "fifo", "forbidden", "endless", "socket"],
)
def test_what_is_no_file_to_be_read_is_told_by_name_and_hides_nothing(
    operator: Operator, folder: Path, make: Callable[[Path], None], name: str
) -> None:
    whole, stated_at = list(operator.fetch(WHOLE)), operator.statement_date("pass-47")
    make(folder / "retour" / name)
    assert list(_read(operator)) == whole
    assert operator.statement_date("pass-47") == stated_at
    with pytest.raises(Unreadable, match=name):
        list(operator.fetch(WHOLE))


def test_a_line_that_cannot_be_read_hides_none_and_one_of_an_unknown_kind_is_told_of(
    operator: Operator, folder: Path
) -> None:
    whole = list(operator.fetch(WHOLE))
    path = folder / "retour" / LAST
    names, *lines, _ = path.read_text(encoding="utf-8").splitlines()
    more = [f"versement;pass-47;{';' * names.count(';')}", "retour-versement;pass-47;APT-000117", "frais;pass-13;1"]
    path.write_text("\n".join([names, *more, *lines, f"FIN;{len(lines) + 3}", ""]), encoding="utf-8")
    read = list(_read(operator))
    assert [line for line in read if not isinstance(line, UnknownLine)] == whole
    assert [line.kind for line in read if isinstance(line, UnknownLine)] == ["retour-versement"]
    with pytest.raises(Unreadable, match=f"{LAST}: Paid: "):
        list(operator.fetch(WHOLE))


def test_a_file_under_a_temporary_name_is_not_looked_at(operator: Operator, folder: Path) -> None:
    whole = list(operator.fetch(WHOLE))
    for name in (".REL-20240131T230000000000Z.csv.part", "REL-20240131T230000000000Z.csv.tmp", "LISEZMOI.txt"):
        (folder / "retour" / name).write_text("type;contrat\ncheque", encoding="utf-8")
    assert list(operator.fetch(WHOLE)) == whole


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"FIN;4", b"FIN;5", "another number"),
        (b"versement;pass-47", b"\xff", "UTF-8"),
        (b";montant;", b";euros;", "montant"),
        (b";1000;;bloque", b";10,00;;bloque", "montant"),
        (b";bloque;", b";perdu;", "statut"),
        (b";contrat;", b";convention;", "contrat"),
    ],
)
def test_a_malformed_file_is_told_by_name_and_does_not_hide_the_others(
    operator: Operator, folder: Path, old: bytes, new: bytes, named: str
) -> None:
    path = folder / "retour" / LAST
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(Unreadable, match=named) as caught:
        list(operator.fetch(WHOLE))
    assert LAST in str(caught.value)
    assert [type(line) for line in _read(operator)][:3] == [Receipt, Receipt, Redeemed]


def test_a_column_that_nobody_knows_is_passed_over(operator: Operator, folder: Path) -> None:
    whole = list(operator.fetch(WHOLE))
    path = folder / "retour" / LAST
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*(f"{line};x" for line in lines[:-1]), lines[-1], ""]), encoding="utf-8")
    assert list(operator.fetch(WHOLE)) == whole


def test_what_is_dropped_is_one_whole_file_for_few_eyes(operator: Operator, folder: Path) -> None:
    assert [receipt.outcome for receipt in operator.push([order()])] == ["unknown"]
    (path,) = (folder / "depot").iterdir()
    assert path.stat().st_mode & 0o007 == 0
    names, line, end = path.read_text(encoding="utf-8").splitlines()
    assert names.startswith("reference;ordre;contrat;cheque;code;montant;fin_validite;mandat;")
    assert line.startswith(f"0198f0a1-0000-7000-8000-000000000009;register;pass-47;{CHEQUES[0]};7K3M-")
    assert end == "FIN;1"


def test_the_payment_order_activates_a_cheque(operator: Operator, folder: Path) -> None:
    list(operator.push([order("activate", payment_order="2026-001234")]))
    (path,) = (folder / "depot").iterdir()
    assert ";2026-001234;" in path.read_text(encoding="utf-8")


def test_a_share_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    operator = lookup.connect("aptic", {"OPERATOR_APTIC_FOLDER": str(tmp_path / "share")})
    with pytest.raises(OperatorUnavailable):
        operator.push([order()])
    with pytest.raises(OperatorUnavailable):
        list(operator.fetch(WHOLE))
    assert list(tmp_path.iterdir()) == []


def test_a_cheque_is_of_no_use_before_it_is_activated() -> None:
    simulator = Simulator(Account.generate())
    with simulator.running() as settings:
        operator = lookup.connect("aptic", settings)
        list(operator.push([order()]))
        simulator.work_off()
        list(operator.push([Order("0198f0a1-0000-7000-8000-000000000010", "declare", "pass-47", CHEQUES[0])]))
        simulator.work_off()
        simulator.state_all()
        receipts = [line for line in operator.fetch(WHOLE) if isinstance(line, Receipt)]
        assert [(each.outcome, each.reason) for each in receipts] == [("accepted", None), ("refused", "inactif")]
        assert not any(isinstance(line, ChequeStatus) for line in operator.fetch(WHOLE))
    shutil.rmtree(simulator.account.folder)


@pytest.mark.slow
def test_a_statement_of_any_length_takes_the_same_memory(operator: Operator, folder: Path) -> None:
    few, many = (_memory(operator, folder, lines) for lines in (1_000, 20_000))
    assert many < few * 1.5 + 100_000


def _memory(operator: Operator, folder: Path, lines: int) -> int:
    text = f"cheque;pass-47;{CHEQUES[0]};1000;actif;0\n" * lines
    path = folder / "retour" / "REL-20240131T230000000000Z.csv"
    path.write_text(f"type;contrat;cheque;montant;statut;rembourse\n{text}FIN;{lines}\n", encoding="utf-8")
    tracemalloc.start()
    assert sum(1 for line in operator.fetch(WHOLE) if isinstance(line, ChequeStatus)) == lines
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def _read(operator: Operator) -> Iterator[interface.Line]:
    """What is read before something is told of."""
    with suppress(Unreadable):
        yield from operator.fetch(WHOLE)
