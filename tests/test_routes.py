"""No route of any service is open by omission."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate
from werkzeug.routing import Rule

from shared.access.tokens import Role, reach_of
from shared.settings.settings import SERVICES
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest

ROOT = Path(__file__).parents[1]

# What anybody may ask, and why it is harmless.
OPEN = {
    "/": "leads to the page",
    "/docs/": "the page",
    "/docs/<path:path>": "the page's parts",
    "/openapi.json": "the document behind the page",
    "/healthz": "whether the process lives",
    "/readyz": "whether it can serve",
    "/static/<path:filename>": "Flask's own; there are no such files",
    "/v1/oauth/token": "a client's secret, or what a provider signed, is the key",
    "/v1/operators/<operator>/webhooks": "the signature on the message is the key",
}
SAMPLES = {"uuid": str(new_id()), "int": "1", "default": "x", "string": "x", "path": "x"}
SCOPED = ("prescriber", "structure")


@pytest.fixture(params=SERVICES)
def any_service(request: pytest.FixtureRequest, service: Callable[[str], ServiceUnderTest]) -> ServiceUnderTest:
    return service(request.param)


def guarded(app: Flask) -> Iterator[tuple[str, str, Mapping[Role, str]]]:
    """Each method and concrete address that is not open, with the roles it names."""
    for rule in app.url_map.iter_rules():
        roles = reach_of(app.view_functions[rule.endpoint])
        if roles:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield method, address(rule), roles


def address(rule: Rule) -> str:
    pieces = rule.rule.split("/")
    return "/".join(
        SAMPLES[piece.strip("<>").rpartition(":")[0] or "default"] if piece.startswith("<") else piece
        for piece in pieces
    )


def test_only_the_routes_on_the_list_are_open(any_service: ServiceUnderTest) -> None:
    app = any_service.app
    found = {rule.rule for rule in app.url_map.iter_rules() if not reach_of(app.view_functions[rule.endpoint])}
    assert found <= set(OPEN)


def test_every_other_route_asks_for_a_token_before_anything_else(any_service: ServiceUnderTest) -> None:
    asked = list(guarded(any_service.app))
    assert len(asked) > 3
    for method, path, _ in asked:
        answer = any_service.app.test_client().open(path, method=method, data=b"{")
        assert answer.status_code == 401, f"{method} {path}"


def test_every_other_route_refuses_the_roles_that_it_does_not_name(any_service: ServiceUnderTest) -> None:
    for method, path, roles in guarded(any_service.app):
        for role in set(Role) - set(roles):
            headers = any_service.headers(role, new_id() if role in SCOPED else None)
            answer = any_service.app.test_client().open(path, method=method, data=b"{", headers=headers)
            assert answer.status_code == 403, f"{method} {path} as {role}"


def test_the_openapi_document_is_valid(any_service: ServiceUnderTest) -> None:
    document = any_service.client.get("/openapi.json").get_json()
    validate(document)
    assert all("x-roles" in operation or operation["security"] == [] for operation in operations(document))


def test_the_openapi_document_has_the_patterns_of_ecma_262_and_they_are_whole(any_service: ServiceUnderTest) -> None:
    """JSON Schema reads them so: `\\Z` would be a letter there, and what does not begin with `^` may begin anywhere."""
    found = set(patterns(any_service.client.get("/openapi.json").get_json()))
    assert len(found) > 2
    for pattern in found:
        assert pattern.startswith("^"), pattern
        assert not re.search(r"\\[AZaz]|\(\?[^:=!]|[*+?}]\+", pattern), pattern
    assert "^[^\\x00-\\x1f\\x7f\\ud800-\\udfff]*$" in found


@pytest.mark.parametrize(
    ("service_name", "method", "path", "name", "good"),
    [
        ("issuer", "POST", "/v1/programmes", "code", "pass"),
        ("issuer", "GET", "/v1/grants", "lot", "pass"),
        ("issuer", "GET", "/v1/booklets", "number", "0123-abcd"),
        ("redeemer", "POST", "/v1/checks", "postcode", "47000"),
        ("redeemer", "POST", "/v1/statements", "month", "2026-01"),
        ("redeemer", "POST", "/v1/revocations", "reason", "Perdu"),
        ("operator_bridge", "POST", "/v1/contracts", "code", "c-1"),
    ],
)
def test_what_the_pattern_ends_with_is_the_end_also_before_a_line_feed(
    service: Callable[[str], ServiceUnderTest], service_name: str, method: str, path: str, name: str, good: str
) -> None:
    """Python's own `$` would let one follow."""
    under_test, faulty = service(service_name), {}
    role = "structure" if path == "/v1/checks" else "admin"
    for value in (good, f"{good}\n"):
        sent: dict[str, Any] = {"query_string": {name: value}} if method == "GET" else {"json": {name: value}}
        headers = under_test.headers(role, new_id() if role in SCOPED else None, key=str(new_id()))
        answer = under_test.app.test_client().open(path, method=method, headers=headers, **sent)
        faulty[value] = name in answer.get_json().get("errors", {})
    assert faulty == {good: False, f"{good}\n": True}


def patterns(part: Any) -> Iterator[str]:
    """Every `pattern` of a document."""
    if isinstance(part, dict) and isinstance(part.get("pattern"), str):
        yield part["pattern"]
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from patterns(each)


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from (path[method] for method in ("get", "post", "put", "patch", "delete") if method in path)


def test_the_tags_of_the_document_are_the_rooms_of_the_service(any_service: ServiceUnderTest) -> None:
    document: Any = any_service.client.get("/openapi.json").json
    parts = [part for path in document["paths"].values() for part in path.values()]
    used = {tag for part in parts if "operationId" in part for tag in part["tags"]}
    described = {tag["name"]: tag["description"] for tag in document["tags"]}
    package = ROOT / "services" / any_service.settings.service
    rooms = {path.parent.name for path in package.glob("*/api*.py")}
    assert used == described.keys()
    assert rooms <= used <= rooms | {"recovery", "events", "metrics", "audit", "token", "access"}
    assert all(text.endswith(".") for text in described.values())
