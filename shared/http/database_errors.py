"""Answers to requests that the database did not serve: it is down, or it broke off this one request."""

from http import HTTPStatus

from flask import Response
from psycopg import errors
from sqlalchemy.exc import DBAPIError

from shared import problems
from shared.observability.logs import logger
from shared.problems import Problem, Unavailable

_AGAIN = "Send the request again, with the same Idempotency-Key if it has one."


class Deadlock(Problem):
    """Two requests waited for each other's rows, and the database broke this one off."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "deadlock"
    title = "Another request stood in the way"


class LockTimeout(Problem):
    """Another request held the rows for longer than this one waits."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "lock-timeout"
    title = "Another request holds what this one needs"


class StatementTimeout(Problem):
    """The database worked on this request for longer than it may."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "statement-timeout"
    title = "The request takes the database too long"


def answer(error: Exception) -> Response:
    """The problem that tells what happened: 503 with the seconds after which it is worth sending the request again."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    problem = _problem(cause)
    logger().error(f"database_{problem.slug.replace('-', '_')}", error=str(cause).strip())
    return problems.answer(problem)


def _problem(cause: BaseException | None) -> Problem:
    match cause:
        case errors.DeadlockDetected():
            return Deadlock(f"Two requests waited for each other. {_AGAIN}", headers={"Retry-After": "1"})
        case errors.LockNotAvailable():
            return LockTimeout(f"Another request is at work on the same. {_AGAIN}", headers={"Retry-After": "5"})
        case errors.QueryCanceled():
            detail = f"The database broke it off: ask for less at once, or later. {_AGAIN}"
            return StatementTimeout(detail, headers={"Retry-After": "30"})
        case _:
            return Unavailable(f"The database does not answer. {_AGAIN}", headers={"Retry-After": "2"})
