"""A town made ready for faults: an operator that keeps its books and is reached through a proxy, clocks that move."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import town as towns
from tests.faults.injuries import WORKERS, Field
from tests.faults.proxy import Proxy
from tests.faults.town import Town, clock_offset_file

_CLOCKWORK = Path(__file__).parent / "clockwork"


@contextmanager
def field() -> Iterator[Field]:
    """A town, and the means to injure it."""
    with (
        tempfile.TemporaryDirectory(prefix="souche-books-") as folder,
        towns.town(arguments=("--books", f"{folder}/books.jsonl")) as town,
    ):
        operator = town.year.world.described["contract"]["operator"]
        proxy = Proxy(int(town.stack.operators[operator].rpartition(":")[2]))
        try:
            _reach_through(proxy, town, operator)
            yield Field(town, operator, proxy)
        finally:
            proxy.close()


def _reach_through(proxy: Proxy, town: Town, operator: str) -> None:
    """Has the bridge reach the operator through the proxy, and every worker live by a clock that can be moved."""
    stack = town.stack
    stack.environ[f"OPERATOR_{operator.upper()}_URL"] = proxy.address
    town.kill("operator_bridge")
    town.start_server("operator_bridge")
    for name in WORKERS:
        town.kill(name)
        moved = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_CLOCKWORK), os.environ.get("PYTHONPATH")])),
            "CLOCK_OFFSET_FILE": str(clock_offset_file(stack.directory, name)),
        }
        stack.start_again(name, moved)
