"""What is given out cannot harm who opens it: no cell is a formula, and no text is a template's command."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader

from shared.files import csv_export, pdf_documents
from shared.settings.settings import SERVICES
from shared.values import clock
from tests.chance import examples
from tests.fuzz.world import World
from tests.harness import ServiceUnderTest
from tests.issuer import office as issuing
from tests.issuer.office import Office
from tests.operator_bridge.conftest import Office as Bureau
from tests.redeemer.conftest import COLUMNS, Till

RUN = ("=", "+", "-", "@", "\t", "\r")
WICKED = "=HYPERLINK(1)"

pytestmark = pytest.mark.slow


@given(
    st.lists(st.text(max_size=20) | st.sampled_from(RUN).flatmap(lambda sign: st.text(max_size=9).map(sign.__add__)))
)
def test_no_cell_of_a_line_is_a_formula_and_every_one_can_be_read_back(values: list[str]) -> None:
    for separator in (",", ";"):
        written = csv_export.line(values or ["x"], separator)
        [cells] = csv.reader(io.StringIO(written, newline=""), delimiter=separator)
        assert not any(cell.startswith(RUN) for cell in cells)
        assert [csv_export.unguarded(cell) for cell in cells] == [
            csv_export.unguarded(csv_export.guarded(value)) for value in values or ["x"]
        ]


PARTING = st.text(st.sampled_from([",", ";", "\t", "\n", "\r", '"', "'", " ", "=", "+", "-", "@", "x"]), max_size=12)


@given(st.lists(PARTING, min_size=1))
def test_no_cell_is_a_formula_where_another_separator_is_expected(values: list[str]) -> None:
    for separator in (",", ";"):
        written = csv_export.line(values, separator)
        for expected in (",", ";", "\t"):
            rows = csv.reader(io.StringIO(written, newline=""), delimiter=expected)
            assert not [cell for row in rows for cell in row if cell.lstrip("\t\r\n").startswith(RUN)]


def plant_in_issuer(service: ServiceUnderTest) -> None:
    """Formulas wherever the issuer takes a text."""
    office = Office(service)
    office.programme(name=WICKED)
    convention = office.convention(WICKED, funder=WICKED)
    office.under(convention, 100_000, target_publics=[])
    office.made(office.post("/v1/prescribers/imports", issuing.places("p", nom=WICKED, adresse=f"@{WICKED}")), 200)
    office.made(office.post("/v1/lots", {"code": "lot", "name": WICKED, "programme": "pass"}))
    office.grant(reference=WICKED, reason=WICKED, target_public=WICKED, lot="lot")


def plant_in_redeemer(service: ServiceUnderTest) -> None:
    """Formulas wherever the redeemer takes a text."""
    till = Till(service)
    till.tell_contract(till.contract)
    line = f'=s1,82854918800021,"{WICKED}",@Agen,47000,47001,+1 rue,2026-01-05'
    answer = till.post("/v1/structures/imports", "admin", f"{COLUMNS}\n{line}\n".encode())
    assert answer.status_code == 200, answer.text


def plant_in_bridge(service: ServiceUnderTest) -> None:
    """Formulas wherever the bridge takes a text, or hears one from an operator."""
    bureau = Bureau(service, {})
    contract = bureau.contract("regie")
    cheques = bureau.issue(1)
    bureau.redeem(cheques)
    theirs = {"=cmd": WICKED}
    bureau.execute(
        "INSERT INTO discrepancy (operator, kind, reference, contract_id, ours, theirs)"
        " VALUES ('regie', 'unknown_here', :text, :contract, CAST(:theirs AS jsonb), '{}')",
        text=WICKED, contract=contract, theirs=json.dumps(theirs),
    )  # fmt: skip


PLANT: dict[str, Callable[[ServiceUnderTest], None]] = {
    "issuer": plant_in_issuer,
    "redeemer": plant_in_redeemer,
    "operator_bridge": plant_in_bridge,
}


@pytest.mark.parametrize("name", SERVICES)
def test_no_file_of_any_route_holds_a_formula(service: Callable[[str], ServiceUnderTest], name: str) -> None:
    asked = service(name)
    PLANT[name](asked)
    known, found, shown = World(asked, {}), 0, ""
    for path, operation in csv_routes(asked):
        role = next(role for role in ("admin", "finance", "operations") if role in operation["x-roles"])
        for address in known.addresses(path):
            answer = asked.app.test_client().get(address, headers=asked.headers(role))
            if answer.status_code == 200:
                found, shown = found + 1, shown + answer.text
                assert formulas(answer.text) == [], address
    assert found >= 3
    assert "'=" in shown


def csv_routes(service: ServiceUnderTest) -> list[tuple[str, dict[str, list[str]]]]:
    """The routes that answer with CSV."""
    paths = service.client.get("/openapi.json").get_json()["paths"]
    return [
        (path, item["get"])
        for path, item in paths.items()
        if "text/csv" in item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    ]


def formulas(text: str) -> list[str]:
    """The cells that a spreadsheet would run; numbers are numbers."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    return [cell for row in rows for cell in row if cell.startswith(RUN) and not is_number(cell)]


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


TEMPLATE = Path(__file__).parents[1] / "shared" / "files" / "typst" / "letter.typ"
MARKUP = '#panic("x") $x$ *b* _i_ `c` @ref <label> \\ #read("/etc/passwd") [ ] { } " // /* = - + ~ #sys.inputs'


def test_data_is_text_to_a_template_and_never_a_command() -> None:
    source = TEMPLATE.parent / "echo.typ"
    content = pdf_documents.pdf(source, {"lines": [MARKUP]}, clock.now())
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)
    assert '#panic("x")' in text.replace("“", '"').replace("”", '"')
    assert "root:" not in text


@examples(15)
@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_text_can_be_set(lines: list[str]) -> None:
    fit = ["".join(one for one in line if not "\ud800" <= one <= "\udfff") for line in lines]
    assert pdf_documents.pdf(TEMPLATE.parent / "echo.typ", {"lines": fit}, clock.now()).startswith(b"%PDF")


def test_a_text_without_end_is_set_in_bounded_time() -> None:
    began = time.monotonic()
    content = pdf_documents.pdf(TEMPLATE.parent / "echo.typ", {"lines": ["x" * 200_000, "y " * 50_000]}, clock.now())
    assert content.startswith(b"%PDF")
    assert time.monotonic() - began < 60
