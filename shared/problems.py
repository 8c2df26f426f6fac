"""Errors as the callers see them: RFC 9457 problem details, each with a stable type.

A use case raises a Problem; one handler answers it. `type` is `urn:souche:<slug>` and never changes once published.
"""

from http import HTTPStatus
from typing import Any

from flask import Response, current_app
from marshmallow import INCLUDE, Schema, fields
from werkzeug.exceptions import HTTPException

CONTENT_TYPE = "application/problem+json"
MAX_ERRORS = 20
_MAX_LENGTH = 200


class ProblemSchema(Schema):
    """RFC 9457 problem details; kinds of problem add members of their own."""

    type = fields.Str(required=True, metadata={"description": "Stable: `urn:souche:<slug>`."})
    title = fields.Str(required=True)
    status = fields.Int(required=True)
    detail = fields.Str(required=True)
    errors = fields.Dict(metadata={"description": "By field, what is wrong with it."})

    class Meta:
        """What kinds add is in the document too."""

        unknown = INCLUDE


class Problem(Exception):
    """An error that a caller can understand and act on."""

    status = HTTPStatus.BAD_REQUEST
    slug = "bad-request"
    title = "The request cannot be understood"

    def __init_subclass__(cls, *, status: HTTPStatus | None = None, slug: str = "", title: str = "") -> None:
        cls.status, cls.slug, cls.title = status or cls.status, slug or cls.slug, title or cls.title

    def __init__(self, detail: str, *, slug: str = "", headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.slug = slug or self.slug
        self.headers = headers or {}
        self.members = members

    def body(self) -> dict[str, Any]:
        """The problem document: type, title, status, detail and the members of this kind."""
        members = {"title": self.title, "status": int(self.status), "detail": self.detail, **self.members}
        if "errors" in members:
            members["errors"], total = first_errors(members["errors"])
            members["detail"] += f" These are the first {MAX_ERRORS} errors of {total}." if total > MAX_ERRORS else ""
        return {"type": f"urn:souche:{self.slug}", **members}


class Invalid(
    Problem, status=HTTPStatus.UNPROCESSABLE_ENTITY, slug="invalid", title="Something in the request is not valid"
):
    """The request is understood and wrong; `errors` names each wrong field."""


class Unauthenticated(Problem, status=HTTPStatus.UNAUTHORIZED, slug="unauthenticated", title="A valid token is needed"):
    """No token, or one that cannot be accepted."""


class Forbidden(Problem, status=HTTPStatus.FORBIDDEN, slug="forbidden", title="This is not open to the caller"):
    """The caller is known and may not do this."""


class NotFound(Problem, status=HTTPStatus.NOT_FOUND, slug="not-found", title="There is no such thing"):
    """There is no such thing, or none that the caller may see."""


class Conflict(Problem, status=HTTPStatus.CONFLICT, slug="conflict", title="The present state does not allow this"):
    """The state of things forbids it."""


class TooMany(Problem, status=HTTPStatus.TOO_MANY_REQUESTS, slug="too-many-requests", title="Too many requests"):
    """The caller is going too fast."""


class Unavailable(
    Problem, status=HTTPStatus.SERVICE_UNAVAILABLE, slug="unavailable", title="The service cannot answer now"
):
    """Something this service stands on is down; asking again later may succeed."""


def first_errors(errors: Any, most: int = MAX_ERRORS) -> tuple[Any, int]:
    """The first errors of a tree of them by field, each cut where it is long, and how many there are in all."""
    if not isinstance(errors, dict | list):
        return (_cut(errors) if isinstance(errors, str) else errors), 1
    kept, total = [], 0
    for name, inner in errors.items() if isinstance(errors, dict) else enumerate(errors):
        found, many = first_errors(inner, most - total)
        if total < most:
            kept.append((_cut(name) if isinstance(name, str) else name, found))
        total += many
    return (dict(kept) if isinstance(errors, dict) else [found for _, found in kept]), total


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"


def answer(problem: Problem) -> Response:
    """The HTTP response of a problem."""
    body = current_app.json.dumps(problem.body())
    return Response(body, problem.status, problem.headers, content_type=CONTENT_TYPE)


def _by_field(messages: dict[str, Any]) -> dict[str, Any]:
    """The errors by field: webargs nests them by location, which is the body or the query."""
    [found] = messages.values() if len(messages) == 1 else [messages]
    return found if isinstance(found, dict) else messages


def answer_http_error(error: HTTPException) -> Response:
    """The same shape for what Flask itself refuses; a response that an extension made is passed on."""
    status = HTTPStatus(error.code or 500)
    problem = Problem(error.description or status.description, slug=status.phrase.lower().replace(" ", "-"))
    problem.status, problem.title = status, status.phrase
    data = getattr(error, "data", {})
    messages = data.get("messages")
    if messages:
        problem.slug, problem.title = Invalid.slug, Invalid.title
        problem.detail = "Some fields are not valid: see `errors`."
        problem.members["errors"] = _by_field(messages)
    kept = {
        name: value for name, value in error.get_headers() if name.lower() not in ("content-type", "content-length")
    }
    problem.headers = kept | (data.get("headers") or {})
    return answer(problem)
