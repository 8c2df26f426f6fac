"""Answers to requests that the database did not serve: it is down, or it broke off this one request."""

from flask import Response
from psycopg import errors
from sqlalchemy.exc import DBAPIError

from shared import problems
from shared.observability.logs import logger
from shared.problems import Unavailable

_AGAIN = "Send the request again, with the same Idempotency-Key if it has one."


class Deadlock(Unavailable):
    """Two requests waited for each other's rows, and the database broke this one off."""

    slug = "deadlock"
    title = "Another request stood in the way"


class LockTimeout(Unavailable):
    """Another request held the rows for longer than this one waits."""

    slug = "lock-timeout"
    title = "Another request holds what this one needs"


class StatementTimeout(Unavailable):
    """The database worked on this request for longer than it may."""

    slug = "statement-timeout"
    title = "The request takes the database too long"


def answer(error: Exception) -> Response:
    """Answers the problem behind an error: 503, with the seconds after which it is worth sending the request again."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    kind, detail, seconds = _problem(cause)
    problem = kind(f"{detail} {_AGAIN}", headers={"Retry-After": str(seconds)})
    logger().error(f"database_{problem.slug.replace('-', '_')}", error=str(cause).strip())
    return problems.answer(problem)


def _problem(cause: BaseException | None) -> tuple[type[Unavailable], str, int]:
    match cause:
        case errors.DeadlockDetected():
            return Deadlock, "Two requests waited for each other.", 1
        case errors.LockNotAvailable():
            return LockTimeout, "Another request is at work on the same.", 5
        case errors.QueryCanceled():
            return StatementTimeout, "The database broke it off: ask for less at once, or later.", 30
        case _:
            return Unavailable, "The database does not answer.", 2
