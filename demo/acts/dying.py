"""The end of an operator: its process dies in the middle of a batch and never comes back."""

import time

from demo.acts.year import Bar, Year
from demo.stack import children
from demo.stack.stack import Stack

PATIENCE_SECONDS = 10.0


def die(year: Year, stack: Stack, operator: str, bar: Bar) -> None:
    """Has the simulated operator end by itself while it works a batch off; where no batch comes it is killed."""
    bar.begin(1)
    process = stack.expect_end(operator)
    year.calls.tell(f"{stack.operators[operator]}/admin/faults", {"name": "die"}, expected=204)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    children.kill(process)
    bar.advance()
