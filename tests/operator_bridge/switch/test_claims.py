"""The claims on an operator that failed: who owes what to whom, as a table and as a document to print and send."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.operator_bridge import claims_pdf, tasks
from services.operator_bridge.claims import Amount, Owed, Summary
from shared import cheque_code
from souche.cli import main
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.switch.town import Town, failure, handover
from tests.serving import served

SUMMARY = Summary(
    creditor="Département de Lot-et-Garonne", debtor="Opérateur & Cie", contract="marché-2024",
    programme="pass-numerique", counted_on=date(2026, 11, 1), unspent=Amount(2000, 2_000_000),
    structures=(Owed("Espace <numérique>", "35600000000048", Amount(12, 12_000), Amount(1, 1_000)),),
    reference="ref", sha256="ab" * 32,
)  # fmt: skip


@pytest.mark.parametrize(
    ("cents", "figures", "words"),
    [
        (0, "0,00 €", "zéro euro"),
        (101, "1,01 €", "un euro et un centime"),
        (8_000, "80,00 €", "quatre-vingts euros"),
        (123_456, "1 234,56 €", "mille deux cent trente-quatre euros et cinquante-six centimes"),
        (200_000_000, "2 000 000,00 €", "deux millions d’euros"),
        (200_000_100, "2 000 001,00 €", "deux millions un euros"),
    ],
)
def test_amounts_are_written_as_in_french(cents: int, figures: str, words: str) -> None:
    assert claims_pdf.in_figures(cents).replace("\u00a0", " ") == figures
    assert claims_pdf.in_words(cents) == words


def test_the_document_is_titled_in_french_and_always_the_same() -> None:
    document = claims_pdf.write(SUMMARY)
    assert document.startswith(b"%PDF-")
    assert b"/Lang (fr-FR)" in document
    assert b"/DisplayDocTitle true" in document
    assert b"/FontFile2" in document
    assert claims_pdf.write(SUMMARY) == document
    assert SUMMARY.total == Amount(2013, 2_013_000)


def test_a_document_for_hundreds_of_structures_has_its_pages() -> None:
    many = replace(SUMMARY, structures=SUMMARY.structures * 300)
    assert claims_pdf.write(many).count(b"/Type /Page\n") > 8


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
    given = {**dict.fromkeys(os.environ, None), **office.bridge.environ, "SOUCHE_TOKEN": office.bridge.token("admin")}
    return CliRunner().invoke(main, ["operator", *arguments], env=given)


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
