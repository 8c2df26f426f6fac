"""What flask-smorest cannot know of our OpenAPI documents: who may call, what carries a key, what an error is."""

import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, cast

from flask import Flask
from werkzeug.routing import Rule

from shared.access.permissions import openapi_path
from shared.access.tokens import reach_of
from shared.http import idempotency
from shared.problems import CONTENT_TYPE

_ROOM_DEPTH = 2
"""The dots in the name of a service's room: `services.issuer.grants`."""
_END = r"\Z"
_SCHEMAS = "#/components/schemas/"
_PLAIN = f"{_SCHEMAS}Denial"  # the only error that is plain JSON, as RFC 6749 requires
_METHODS = ("get", "post", "put", "patch", "delete")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_OF_EVERY_TOKEN = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
_OF_A_BODY = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
_OF_A_KEY = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
_ANYWHERE = (*_OF_EVERY_TOKEN, *_OF_A_BODY, *_OF_A_KEY, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)
_WAIT = {"description": "After how many seconds to ask again.", "schema": {"type": "integer"}}


def settings(service: str) -> dict[str, Any]:
    """The settings of flask-smorest: OpenAPI 3.1, served by ourselves."""
    token = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT (EdDSA)"}
    return {
        "API_TITLE": f"Souche: {service.replace('_', ' ')}",
        "API_VERSION": "v1",
        "OPENAPI_VERSION": "3.1.0",
        "API_SPEC_OPTIONS": {"security": [{"token": []}], "components": {"securitySchemes": {"token": token}}},
    }


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
    _add_links(described)
    return described


def _room(view: Any) -> tuple[str, str]:
    """The name and description of a view's room, or of its module where it is in no service's room."""
    package, _, module = view.__module__.rpartition(".")
    in_room = package.count(".") == _ROOM_DEPTH
    name = package.rpartition(".")[2] if in_room else module.removeprefix("api_")
    text = sys.modules[package if in_room else view.__module__].__doc__ or ""
    return name, text.partition("\n")[0]


def _operations(app: Flask, described: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Rule]]:
    for rule in app.url_map.iter_rules():
        path = described["paths"].get(openapi_path(rule), {})
        yield from ((path[method], rule) for method in map(str.lower, rule.methods or ()) if method in path)


def _name_roles(operation: dict[str, Any], view: Any) -> None:
    roles = sorted(reach_of(view) or ())
    if not roles:
        operation["security"] = []
        return
    operation["x-roles"] = roles
    description = operation.get("description", "")
    operation["description"] = f"{description}\n\nFor tokens of role: {', '.join(roles)}.".strip()


def _name_key(operation: dict[str, Any], view: Any) -> None:
    required = idempotency.takes_key(view)
    if required is not None:
        schema = {"type": "string", "maxLength": idempotency.MAX_LENGTH}
        about = "The same key and the same request get the same answer, and are done once."
        header = {"in": "header", "name": idempotency.HEADER, "required": required, "schema": schema}
        operation.setdefault("parameters", []).append(header | {"description": about})


def _name_answers(operation: dict[str, Any], rule: Rule, view: Any) -> None:
    """Adds what any such route may answer; flask-smorest's `default` documents nothing and goes."""
    answers = operation["responses"]
    answers.pop("default", None)
    possible = [HTTPStatus.SERVICE_UNAVAILABLE]
    if reach_of(view):
        possible += _OF_EVERY_TOKEN
    if rule.arguments:
        possible.append(HTTPStatus.NOT_FOUND)
    if _WITH_BODY & (rule.methods or set()):
        possible += _OF_A_BODY
    if idempotency.takes_key(view) is not None:
        possible += _OF_A_KEY
    for status in possible:
        answers.setdefault(str(int(status)), {"$ref": f"#/components/responses/{status.name}"})


def _problem(status: HTTPStatus) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response = {"description": status.phrase, "content": content}
    return response | ({"headers": {"Retry-After": _WAIT}} if status is HTTPStatus.TOO_MANY_REQUESTS else {})


def _name_errors(responses: dict[str, Any], *, all_of_them: bool = False) -> None:
    for status, response in responses.items():
        content = response.get("content", {})
        plain = content.get("application/json", {}).get("schema", {}).get("$ref") == _PLAIN
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
    r"""A pattern for `re.match` as ECMA-262 has it: begun by `^`, and ended by `$`, there the very end, for `\Z`."""
    begun = pattern if pattern.startswith("^") else f"^{pattern}"
    return f"{begun.removesuffix(_END)}$" if begun.endswith(_END) else begun


def _add_links(described: dict[str, Any]) -> None:
    """Adds to the answers that show one thing where it can be read or acted upon, which follows from the names.

    An answer with a `grant_id` leads to every route with `{grant_id}` in its path, one with a `code` only to those
    below the address that made it.
    """
    for path, operation in _by_path(described):
        for status, answer in operation["responses"].items():
            members = _members(described, answer) if status in ("200", "201", "202") else {}
            found = dict(_links(described, path, members))
            if found:
                answer["links"] = found


def _by_path(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        yield from ((path, item[method]) for method in _METHODS if method in item)


def _members(described: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The members of the object that an answer contains, if any."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").removeprefix(_SCHEMAS)
    schemas = described.get("components", {}).get("schemas", {})
    return cast(dict[str, Any], schemas.get(name, {}).get("properties", {}))


def _links(described: dict[str, Any], path: str, members: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for target, operation in _by_path(described):
        names = [piece[1:-1] for piece in target.split("/") if piece.startswith("{")]
        if target != path and len(names) == 1 and names[0] in members and _leads(path, target, names[0]):
            parameters = {names[0]: f"$response.body#/{names[0]}"}
            endpoint = operation["operationId"]
            yield endpoint.replace(".", "_"), {"operationId": endpoint, "parameters": parameters}


def _leads(path: str, target: str, name: str) -> bool:
    return name.endswith("_id") or target.startswith(f"{path}/{{{name}}}")
