"""A process whose clock can be moved while it runs: the file CLOCK_OFFSET_FILE holds seconds to add.

The first time that somebody is told a time so moved, the offset is written beside it, to a file ending in `.seen`.

Python imports a module of this name at the start of any process that finds it on its path.
"""

import os
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from shared.values import clock

_real_time, _real_now = time.time, clock.now


def _offset() -> float:
    try:
        with open(os.environ["CLOCK_OFFSET_FILE"], encoding="utf-8") as file:
            offset = float(file.read() or 0)
        if offset:
            _say_once(offset)
    except (KeyError, OSError, ValueError):
        return 0.0
    return offset


def _say_once(offset: float) -> None:
    with suppress(FileExistsError), open(Path(os.environ["CLOCK_OFFSET_FILE"]).with_suffix(".seen"), "x") as file:
        file.write(str(offset))


def _shifted_time() -> float:
    return _real_time() + _offset()


def _shifted_now() -> datetime:
    return _real_now() + timedelta(seconds=_offset())


time.time = _shifted_time
clock.now = _shifted_now
