"""What flask-smorest cannot know of our OpenAPI documents: who may call, what carries a key, what an error is."""

import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from shared.access.permissions import openapi_path
from shared.access.tokens import allowed_roles
from shared.http import idempotency, openapi_links
from shared.problems import CONTENT_TYPE

# The one kind of error that is plain JSON, as RFC 6749 requires.
PLAIN = "#/components/schemas/Denial"

_ROOM_DEPTH = 2
"""The dots in the name of a service's room: `services.issuer.grants`."""
_END = r"\Z"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_ANYWHERE = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

_WAIT = {"description": "After how many seconds to ask again.", "schema": {"type": "integer"}}

_TITLES = {"issuer": "Souche: issuer", "redeemer": "Souche: redeemer", "operator_bridge": "Souche: operator bridge"}


def settings(service: str) -> dict[str, Any]:
    """The settings of flask-smorest: OpenAPI 3.1, served by ourselves."""
    token = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT (EdDSA)"}
    return {
        "API_TITLE": _TITLES[service],
        "API_VERSION": "v1",
        "OPENAPI_VERSION": "3.1.0",
        "API_SPEC_OPTIONS": {"security": [{"token": []}], "components": {"securitySchemes": {"token": token}}},
    }


def page_options(title: str) -> dict[str, Any]:
    """The options of the readable page, which needs no outside host: not for validating the document either."""
    return {"app_name": title, "validatorUrl": None, "persistAuthorization": True}


def document(app: Flask, described: dict[str, Any]) -> dict[str, Any]:
    """Completes a service's document."""
    tags: dict[str, str] = {}
    for operation, rule in _operations(app, described):
        view = app.view_functions[rule.endpoint]
        operation["operationId"] = rule.endpoint
        tag, description = _room(view)
        operation["tags"], tags[tag] = [tag], description
        _name_roles(operation, view)
        _name_key(operation, view)
        _name_answers(operation, rule, view)
        _name_errors(operation["responses"])
    described["tags"] = [{"name": name, "description": description} for name, description in tags.items()]
    answers = described.setdefault("components", {}).setdefault("responses", {})
    answers |= {status.name: _problem(status) for status in _ANYWHERE}
    _name_errors(answers, all_of_them=True)
    _write_patterns(described)
    openapi_links.add(described)
    return described


def _room(view: Any) -> tuple[str, str]:
    """The name and description of the room that a view is of; a view that stands in no service's room is its own."""
    package, _, module = view.__module__.rpartition(".")
    in_room = package.count(".") == _ROOM_DEPTH
    name = package.rpartition(".")[2] if in_room else module.removeprefix("api_")
    text = sys.modules[package if in_room else view.__module__].__doc__ or ""
    return name, text.partition("\n")[0]


def _operations(app: Flask, described: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Rule]]:
    for rule in app.url_map.iter_rules():
        path = described["paths"].get(openapi_path(rule), {})
        for method in rule.methods or ():
            if method.lower() in path:
                yield path[method.lower()], rule


def _name_roles(operation: dict[str, Any], view: Any) -> None:
    roles = sorted(allowed_roles(view) or ())
    if not roles:
        operation["security"] = []
        return
    operation["x-roles"] = roles
    description = operation.get("description", "")
    operation["description"] = f"{description}\n\nFor tokens of role: {', '.join(roles)}.".strip()


def _name_key(operation: dict[str, Any], view: Any) -> None:
    required = idempotency.takes_key(view)
    if required is not None:
        operation.setdefault("parameters", []).append(
            {
                "in": "header",
                "name": idempotency.HEADER,
                "required": required,
                "schema": {"type": "string", "maxLength": idempotency.MAX_LENGTH},
                "description": "The same key and the same request get the same answer, and are done once.",
            }
        )


def _name_answers(operation: dict[str, Any], rule: Rule, view: Any) -> None:
    """What any route may answer by standing on the same ground; "whatever else" would document nothing, so it goes."""
    answers = operation["responses"]
    answers.pop("default", None)
    possible = [HTTPStatus.SERVICE_UNAVAILABLE]
    if allowed_roles(view):
        possible += [HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN]
        possible += [HTTPStatus.TOO_MANY_REQUESTS]
    if rule.arguments:
        possible.append(HTTPStatus.NOT_FOUND)
    if _WITH_BODY & (rule.methods or set()):
        possible += [HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE]
    if idempotency.takes_key(view) is not None:
        possible += [HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY]
    for status in possible:
        answers.setdefault(str(int(status)), {"$ref": f"#/components/responses/{status.name}"})


def _problem(status: HTTPStatus) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response = {"description": status.phrase, "content": content}
    return response | ({"headers": {"Retry-After": _WAIT}} if status is HTTPStatus.TOO_MANY_REQUESTS else {})


def _name_errors(responses: dict[str, Any], *, all_of_them: bool = False) -> None:
    for status, response in responses.items():
        content = response.get("content", {})
        plain = content.get("application/json", {}).get("schema", {}).get("$ref") == PLAIN
        if (all_of_them or not status.startswith("2")) and "application/json" in content and not plain:
            content[CONTENT_TYPE] = content.pop("application/json")


def _write_patterns(part: Any) -> None:
    """Writes every `pattern` of a document as ECMA-262 has it, which is what JSON Schema reads."""
    if isinstance(part, list):
        for item in part:
            _write_patterns(item)
    elif isinstance(part, dict):
        if isinstance(part.get("pattern"), str):
            part["pattern"] = ecma_pattern(part["pattern"])
        for item in part.values():
            _write_patterns(item)


def ecma_pattern(pattern: str) -> str:
    r"""A pattern for `re.match` as ECMA-262 has it: begun by `^`, and ended by `$` where Python has `\Z`.

    There `$` is the very end; in Python it would let a line feed follow.
    """
    begun = pattern if pattern.startswith("^") else f"^{pattern}"
    return f"{begun.removesuffix(_END)}$" if begun.endswith(_END) else begun
