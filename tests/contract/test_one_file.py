"""Law 6: an operator is one file and one line."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.operator_bridge.adapter_kit import lookup
from tests.contract.cases import CASES

ROOT = Path(__file__).parents[2]
OWN = ROOT / "services" / "operator_bridge" / "operators"
PRODUCT = [path for room in ("services", "shared") for path in (ROOT / room).rglob("*.py") if path.parent != OWN]

DO_NOTHING = '''"""An operator that does nothing at all."""

from services.operator_bridge.interface import Operator, Receipt


class Adapter(Operator):
    name = "Idler"
    needs_codes = False
    has_statement = False

    def push(self, orders):
        return (Receipt(order.reference, "accepted") for order in orders)
'''


def test_each_adapter_has_its_line_in_the_contract_suite() -> None:
    assert sorted(CASES) == sorted(lookup.codes())


@pytest.mark.parametrize("code", lookup.codes())
def test_no_other_file_names_an_operator(code: str) -> None:
    word = re.compile(rf"\b{code}\b", re.IGNORECASE)
    assert [str(path.relative_to(ROOT)) for path in PRODUCT if word.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
def test_an_operator_is_added_by_one_file_and_one_line(tmp_path: Path) -> None:
    for room in ("services", "shared", "demo", "souche", "tests"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "services/operator_bridge/operators/idler.py").write_text(DO_NOTHING, encoding="utf-8")
    guard = "test_each_adapter_has_its_line_in_the_contract_suite"
    assert _pytest(tmp_path, guard) != 0

    cases = tmp_path / "tests/contract/cases.py"
    cases.write_text(
        cases.read_text(encoding="utf-8").replace("CASES = (", 'CASES = (\n    "idler",'), encoding="utf-8"
    )
    assert _pytest(tmp_path, f"idler or {guard}") == 0


def _pytest(where: Path, chosen: str) -> int:
    command = [sys.executable, "-m", "pytest", "tests/contract", "-q", "-k", chosen, "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True)
    print(done.stdout)
    return done.returncode
