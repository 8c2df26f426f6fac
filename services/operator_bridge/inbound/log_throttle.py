"""Refused messages in the log, without a flood of them becoming a flood of lines."""

from shared.limiting.first_of_window import FirstOfWindow
from shared.observability.logs import logger

MAX_LINES = 5
"""Refusals of an operator that are logged in a minute; the others are only counted."""


class RefusalLog:
    """Logs the first refusals of each operator in a minute, each with the number of those not logged before it."""

    def __init__(self) -> None:
        self._first = FirstOfWindow(MAX_LINES, 60.0)

    def log(self, operator: str, **facts: object) -> None:
        """Logs a refusal, or counts it."""
        withheld = self._first.withheld(operator)
        if withheld is not None:
            logger().warning("bad_signature", operator=operator, not_logged=withheld, **facts)
