"""A statement of any length is read in the same memory."""

from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import pytest

from services.operator_bridge.interface import ChequeStatus
from tests.contract.conftest import CONTRACT, Case

_RESIDENT = Path("/proc/self/statm")
_PAGE_BYTES = 4096
_SHORT, _LONG = 1_000, 200_000
# What the allocator keeps between two pages of a statement; 200 000 lines kept would be ten times as much.
_SLACK_BYTES = 8_000_000


@runtime_checkable
class Stocked(Protocol):
    """A simulator whose books can be filled at once."""

    def stock(self, contract: str, number: int) -> None: ...


def resident_bytes() -> int:
    return int(_RESIDENT.read_text().split()[1]) * _PAGE_BYTES


@pytest.mark.slow
def test_two_hundred_thousand_lines_take_the_memory_of_one_thousand(case: Case) -> None:
    case.needs(case.operator.has_statement, "holds no statement")
    case.needs(isinstance(case.simulator, Stocked), "has books that fill slowly")
    case.needs(_RESIDENT.exists(), "runs where memory is not told")
    assert isinstance(case.simulator, Stocked)
    case.simulator.stock(CONTRACT, _LONG)
    lines = (line for line in case.stream() if isinstance(line, ChequeStatus))
    assert sum(1 for _ in islice(lines, _SHORT)) == _SHORT
    after_short, highest, read = resident_bytes(), 0, _SHORT
    while part := sum(1 for _ in islice(lines, _SHORT)):
        highest, read = max(highest, resident_bytes()), read + part
    assert read == _LONG
    assert highest - after_short < _SLACK_BYTES
