"""Long jobs in slices: each slice commits, and a job that is not done in its time goes on in a task that follows it.

A job that is cut off between two slices, or in one, loses at most that slice: its next run does it.
"""

import time
from collections.abc import Callable
from typing import TypeVar

# Half of the soft time limit of a task: a slice that begins just before the end of this has as long again.
SECONDS = 30.0

_Place = TypeVar("_Place")


def run(
    do_slice: Callable[[_Place], tuple[int, _Place | None]], start: _Place, seconds: float = SECONDS
) -> tuple[int, _Place | None]:
    """Number of rows that were done in about so many seconds, and the place to go on from; None at the end of the job.

    `do_slice` does and commits the slice that begins at a place; it gives the number of rows that it did, and the place
    where the next slice begins, None after the last one.
    """
    deadline = time.monotonic() + seconds
    done, following = do_slice(start)
    while following is not None and time.monotonic() < deadline:
        number, following = do_slice(following)
        done += number
    return done, following
