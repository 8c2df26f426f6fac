"""The claims on an operator that failed: who owes what to whom, as a table and as a document to print and send."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pikepdf
import pytest
from click.testing import CliRunner, Result
from pypdf import PdfReader

from services.operator_bridge import tasks
from services.operator_bridge.switching import claims
from services.operator_bridge.switching.claims import Amount, Owed, Summary
from shared.values import cheque_code
from souche.cli import main
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.switching.town import Town, failure, handover
from tests.serving import served

pytestmark = pytest.mark.slow

SUMMARY = Summary(
    creditor="Département de Lot-et-Garonne", debtor="Opérateur & Cie", contract="marché-2024",
    programme="pass-numerique", counted_on=date(2026, 11, 1), unspent=Amount(2000, 2_000_000),
    structures=(Owed("Espace <numérique>", "35600000000048", Amount(12, 12_000), Amount(1, 1_000)),),
    reference="ref", sha256="ab" * 32,
)  # fmt: skip

_IDLE_IN_TRANSACTION = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
"""


def pages(document: bytes) -> list[str]:
    """What a reader, or a machine that reads aloud, finds on each page; every kind of space as one."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(document)).pages]


def test_the_document_says_who_owes_what_in_figures_and_in_words() -> None:
    letter, by_structure = pages(claims.letter(SUMMARY))
    assert "Opérateur & Cie" in letter
    assert "Constatant sa défaillance le 1er novembre 2026" in letter
    assert "En chiffres : 20 130,00 €" in letter
    assert "En lettres : vingt mille cent trente euros" in letter
    assert SUMMARY.sha256 in letter
    assert "page 1 sur 2" in letter
    assert "Espace <numérique> 35600000000048 12 120,00 € 1 10,00 € 130,00 €" in by_structure
    assert "Soit, pour l’ensemble des structures : cent trente euros." in by_structure
    assert SUMMARY.total == Amount(2013, 2_013_000)


def test_the_document_is_accessible_titled_in_french_and_always_the_same() -> None:
    document = claims.letter(SUMMARY)
    with pikepdf.open(io.BytesIO(document)) as read:
        assert read.docinfo["/Title"] == "Déclaration de créances – Opérateur & Cie"
        assert read.Root["/Lang"] == "fr-FR"
        assert read.Root["/ViewerPreferences"]["/DisplayDocTitle"]
        tags = [str(item["/S"]) for item in read.objects if isinstance(item, pikepdf.Dictionary) and "/S" in item]
    assert {"/Table", "/TH", "/TD", "/P", "/H1"} <= set(tags)
    assert claims.letter(SUMMARY) == document


def test_a_document_without_any_structure_says_so() -> None:
    assert "Aucune utilisation n’est restée impayée." in pages(claims.letter(replace(SUMMARY, structures=())))[1]


@pytest.mark.slow
def test_a_document_for_two_thousand_structures_has_its_total_once_at_the_end() -> None:
    many = pages(claims.letter(replace(SUMMARY, structures=SUMMARY.structures * 2000)))
    assert len(many) > 40
    assert all("Structure SIRET Déclarées Non déclarées Total" in page for page in many[1:-1])
    assert [number for number, page in enumerate(many) if "260 000,00 €" in page] == [len(many) - 1]


def claimed(town: Town) -> Town:
    failure(town)
    town.finish()
    return town


def download(town: Town, name: str) -> bytes:
    office = town.office
    path = f"/v1/switches/{town.switch_id}/{name}"
    answer = office.bridge.client.get(path, headers=office.bridge.headers("finance"))
    assert answer.status_code == 200, answer.text
    return bytes(answer.data)


def test_the_table_has_a_line_for_each_cheque_and_no_code(town: Town) -> None:
    text = download(claimed(town), "claims.csv").decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    assert Counter(line["Nature"] for line in lines) == {
        "Chèque prépayé non utilisé": 63,
        "Utilisation déclarée et non payée": 16,
        "Utilisation non déclarée et non payée": 8,
    }
    assert {line["Montant (euros)"] for line in lines} == {"10,00"}
    assert {line["Structure"] for line in lines} == {"", "Espace public numérique"}
    assert all(line["Référence de la déclaration"] for line in lines if "déclarée et" in line["Nature"][:24])
    for code in town.office.codes.values():
        assert cheque_code.normalise(code) not in text


def test_while_somebody_reads_the_table_slowly_no_transaction_is_open(town: Town) -> None:
    claimed(town)
    office, path = town.office, f"/v1/switches/{town.switch_id}/claims.csv"
    with office.bridge.client.get(path, headers=office.bridge.headers("finance"), buffered=False) as answer:
        parts = answer.iter_encoded()
        begun = [next(parts), next(parts, b"")]
        assert office.rows(_IDLE_IN_TRANSACTION) == [(0,)]
        assert b"".join([*begun, *parts]) == download(town, "claims.csv")


def test_both_files_say_the_same_however_often_they_are_asked_for(town: Town) -> None:
    claimed(town)
    for name in ("claims.csv", "claims.pdf"):
        assert download(town, name) == download(town, name)


def test_there_are_no_claims_on_an_operator_that_hands_over(town: Town) -> None:
    handover(town)
    path = f"/v1/switches/{town.switch_id}/claims.pdf"
    answer = town.office.bridge.client.get(path, headers=town.office.bridge.headers("finance"))
    assert (answer.status_code, answer.get_json()["type"]) == (409, "urn:souche:no-claims")


def test_claims_that_are_still_being_written_down_are_not_given(town: Town) -> None:
    failure(town)
    path = f"/v1/switches/{town.switch_id}/claims.csv"
    answer = town.office.bridge.client.get(path, headers=town.office.bridge.headers("finance"))
    assert (answer.status_code, answer.get_json()["type"]) == (409, "urn:souche:claims-not-ready")


@pytest.fixture
def command_line(town: Town) -> Iterator[Town]:
    with served(town.office.bridge.app, town.office.bridge.settings.peers["operator_bridge"]):
        yield town


def run(office: Office, *arguments: str) -> Result:
    environ = {**dict.fromkeys(os.environ, None), **office.bridge.environ, "SOUCHE_TOKEN": office.bridge.token("admin")}
    return CliRunner().invoke(main, ["operator", *arguments], env=environ)


def test_a_switch_is_made_and_watched_from_the_command_line(command_line: Town, tmp_path: Path) -> None:
    town, switch = command_line, ("switch", "--from", "old", "--to", "new", "--mode", "failure")
    town.operator.die()
    assert run(town.office, *switch, "--no-wait").exit_code == 0
    (found,) = town.office.get("/v1/switches")["items"]
    town.office.bridge.runtime.celery.set_current()
    tasks.switch_all()
    for _ in range(4):
        tasks.switch(found["switch_id"])
        town.office.push_all(town.new)
    result = run(town.office, *switch, "--claims", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "cut_over: done" in result.output
    assert "0 differences" in result.output
    assert (tmp_path / "creances.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "creances.csv").stat().st_size > 1000
    town.office.bridge.runtime.redis.flushall()


def test_a_contract_that_is_not_there_is_named(command_line: Town) -> None:
    result = run(command_line.office, "switch", "--from", "nobody", "--to", "new", "--mode", "handover")
    assert result.exit_code == 1
    assert "There is no contract nobody" in result.output
