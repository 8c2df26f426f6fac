"""Single statements that are their own transaction, in one round trip to the database: what a till waits for.

They go straight to psycopg, prepared, on a connection of a pool that is always in autocommit mode.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.errors import AdminShutdown, CrashShutdown, DeadlockDetected
from psycopg.rows import class_row

from shared.observability.logs import logger
from shared.problems import Unavailable
from shared.process.runtime import Runtime

_Row = TypeVar("_Row")

# Seconds before each further try: who ended a deadlock lets the other pass first, or both meet again.
_PAUSES = (0.05, 0.2)


class PreparedQuery:
    """SQL whose parameters are written `:name`, parsed once: psycopg parses a long one anew at each execution."""

    def __init__(self, *parts: str) -> None:
        self._names: list[str] = []
        self._sql = re.sub(r"(?<!:):([a-z]\w*)", self._number, "".join(parts)).encode()

    def _number(self, parameter: re.Match[str]) -> str:
        if parameter[1] not in self._names:
            self._names.append(parameter[1])
        return f"${self._names.index(parameter[1]) + 1}"

    def run(self, runtime: Runtime, parameters: Mapping[str, Any], row: type[_Row]) -> list[_Row]:
        """Runs the statement and returns its rows as `row`s; it must be safe to repeat.

        It is repeated where it was chosen to end a deadlock or the database went away since the last request. Raises
        Unavailable.
        """
        pauses = iter(_PAUSES)
        while True:
            try:
                return self.run_once(runtime, parameters, row)
            except psycopg.OperationalError as error:
                pause = next(pauses, None)
                if pause is None or not _is_transient(error):
                    raise _unavailable(error) from None
                logger().warning("statement_repeated", error=type(error).__name__)
                if not isinstance(error, DeadlockDetected):
                    runtime.forget_connections()  # all others were cut with this one
            time.sleep(pause)

    def run_once(self, runtime: Runtime, parameters: Mapping[str, Any], row: type[_Row]) -> list[_Row]:
        """The same without a second try; raises psycopg's errors."""
        values = [parameters[name] for name in self._names]
        with (
            _pooled(runtime.autocommit_engine) as connection,
            psycopg.RawCursor(connection, row_factory=class_row(row)) as cursor,
        ):
            return cursor.execute(self._sql, values, prepare=True).fetchall()


def rows_of_json(parameter: str, columns: str) -> str:
    """SQL that reads these columns ("id uuid, amount_cents int") from a parameter that `json_rows` made.

    It goes through an array, as the planner takes those to be short and what a function returns to be long.
    """
    rows = f"unnest(ARRAY(SELECT json_array_elements(CAST(:{parameter} AS json))))"
    return f"SELECT input.* FROM {rows} AS input_row, json_to_record(input_row) AS input ({columns})"  # noqa: S608


def json_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a parameter: psycopg takes longer for each list of a column than this takes for all."""
    return json.dumps(rows, default=lambda value: rf"\x{value.hex()}" if isinstance(value, bytes) else str(value))


def _is_transient(error: psycopg.OperationalError) -> bool:
    """Whether trying again at once may help: not after waiting for a lock in vain, for one."""
    return error.sqlstate is None or isinstance(error, DeadlockDetected | AdminShutdown | CrashShutdown)


def _unavailable(error: psycopg.OperationalError) -> Unavailable:
    logger().error("database_unavailable", error=type(error).__name__)
    return Unavailable(
        "The database does not answer. Send the same request again, with the same Idempotency-Key if it has one.",
        headers={"Retry-After": "2"},
    )


@contextmanager
def _pooled(engine: sa.Engine) -> Iterator[psycopg.Connection[Any]]:
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    try:
        yield connection
    finally:
        if connection.closed:
            pooled.invalidate()
        else:
            pooled.close()
