"""The end of an operator: its process dies in the middle of a batch and never comes back."""

import time

from demo.acts.year import Bar, Year
from demo.stack import children
from demo.stack.stack import Stack

PATIENCE_SECONDS = 10.0


def die(year: Year, stack: Stack, operator: str, bar: Bar) -> None:
    """Makes the simulated operator exit in mid-batch; kills it where no batch comes."""
    bar.begin(1)
    process = stack.expect_end(operator)
    year.calls.post_to(f"{stack.operators[operator]}/admin/faults", {"name": "die"}, expected=204)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    children.kill(process)
    bar.advance()
