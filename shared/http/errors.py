"""Answers to what goes wrong: a use case's problems, the database, settings that are missing."""

from flask import Flask, Response, current_app, request
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled, UniqueViolation
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import RequestEntityTooLarge

from shared import problems
from shared.http.metrics import REFUSALS
from shared.limiting.request_limits import KIB, MIB, TooLarge
from shared.observability.logs import logger
from shared.problems import Conflict, Problem, Unavailable
from shared.settings.settings import ConfigurationError

_AGAIN = "Send the request again, with the same Idempotency-Key if it has one."


class Deadlock(Unavailable, slug="deadlock", title="Another request stood in the way"):
    """Two requests waited for each other's rows, and the database broke this one off."""


class LockTimeout(Unavailable, slug="lock-timeout", title="Another request holds what this one needs"):
    """Another request held the rows for longer than this one waits."""


class StatementTimeout(Unavailable, slug="statement-timeout", title="The request takes the database too long"):
    """The database worked on this request for longer than it may."""


_BROKEN_OFF: dict[type, tuple[type[Unavailable], str, int]] = {
    DeadlockDetected: (Deadlock, "Two requests waited for each other.", 1),
    LockNotAvailable: (LockTimeout, "Another request is at work on the same.", 5),
    QueryCanceled: (StatementTimeout, "The database broke it off: ask for less at once, or later.", 30),
}


def add(app: Flask) -> None:
    """Adds the answers to an application."""
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(OperationalError, _answer_database)
    app.register_error_handler(PoolTimeout, _answer_database)
    app.register_error_handler(IntegrityError, _answer_taken)
    app.register_error_handler(RequestEntityTooLarge, _answer_too_large)
    app.register_error_handler(ConfigurationError, _answer_unconfigured)


def _answer_problem(problem: Problem) -> Response:
    """Counts a refusal of cheques by the reason of every cheque, any other problem once."""
    reasons = [refusal["reason"] for refusal in problem.members.get("refusals", ())] or [problem.slug]
    for reason in reasons:
        REFUSALS.labels(current_app.import_name, reason).inc()
    return problems.answer(problem)


def _answer_unconfigured(error: ConfigurationError) -> Response:
    """The request needs settings that this process was started without, mostly an operator's."""
    logger().error("not_configured", error=str(error))
    return problems.answer(Unavailable(str(error), slug="not-configured"))


def _answer_taken(error: IntegrityError) -> Response:
    """Two requests made the same at the same moment, and the other was first."""
    if not isinstance(error.orig, UniqueViolation):
        raise error
    logger().info("taken_meanwhile", constraint=error.orig.diag.constraint_name)
    return problems.answer(Conflict("Somebody made the same at this moment.", slug="taken-meanwhile"))


def _answer_too_large(_: RequestEntityTooLarge) -> Response:
    limit = request.max_content_length or 0
    size = f"{limit // MIB} MiB" if limit >= MIB else f"{limit // KIB} KiB"
    return problems.answer(TooLarge(f"At most {size} are taken at once. Send it in parts."))


def _answer_database(error: Exception) -> Response:
    """Answers the problem behind an error: 503, with the seconds after which it is worth sending the request again."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    kind, detail, seconds = _BROKEN_OFF.get(type(cause), (Unavailable, "The database does not answer.", 2))
    problem = kind(f"{detail} {_AGAIN}", headers={"Retry-After": str(seconds)})
    logger().error(f"database_{problem.slug.replace('-', '_')}", error=str(cause).strip())
    return problems.answer(problem)
