"""Who writes the states of links: few modules, so that each way from one state to the next can be found."""

import re
from pathlib import Path

import pytest

from services import operator_bridge

BRIDGE = Path(operator_bridge.__file__).parent
WRITERS = {
    "INSERT INTO link": {"orders/creating.py"},
    "UPDATE link SET state": {"orders/consequences.py", "orders/manual.py", "switching/strand.sql"},
}


@pytest.mark.parametrize("statement", WRITERS)
def test_only_these_modules_write_the_state_of_a_link(statement: str) -> None:
    files = [path for path in BRIDGE.rglob("*.*") if path.suffix in (".py", ".sql") and "versions" not in path.parts]
    found = {path for path in files if re.search(rf"{statement}\b", " ".join(path.read_text().split()))}
    assert {str(path.relative_to(BRIDGE)) for path in found} == WRITERS[statement]
