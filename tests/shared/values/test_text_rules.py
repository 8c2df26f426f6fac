"""A cheque's code that somebody writes into a text is refused by name, on every route of every service."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.access.tokens import SCOPED, Role
from shared.settings.settings import SERVICES
from shared.values import cheque_code
from shared.values.ids import new_id
from shared.values.text_rules import HOLDS_CODE
from tests.harness import ServiceUnderTest
from tests.issuer.office import Office

CODE = cheque_code.printed(cheque_code.generate())

# Where codes belong, and what is compared with the choices of a rule and not kept. A file's lines are tried below.
ELSEWHERE = {
    ("/v1/checks", "code"),
    ("/v1/redemptions", "codes"),
    ("/v1/assessments", "answers"),
    ("/v1/grants", "answers"),
}
Path = tuple[str | int, ...]


@pytest.fixture(params=SERVICES)
def any_service(request: pytest.FixtureRequest, service: Callable[[str], ServiceUnderTest]) -> ServiceUnderTest:
    return service(request.param)


@pytest.fixture
def office(issuer: ServiceUnderTest) -> Office:
    made = Office(issuer)
    made.programme()
    return made


def texts(document: dict[str, Any], schema: dict[str, Any], at: Path = ()) -> Iterator[Path]:
    """Where free texts stand in what a schema describes: under which names, in which lists (0)."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "string" in schema.get("type", ()) and not {"enum", "format"} & set(schema):
        yield at
    for name, part in schema.get("properties", {}).items():
        yield from texts(document, part, (*at, name))
    for name, part in (("x", schema.get("additionalProperties")), (0, schema.get("items"))):
        if isinstance(part, dict):
            yield from texts(document, part, (*at, name))
    for part in schema.get("anyOf", ()):
        yield from texts(document, part, at)


def with_code_at(path: Path) -> Any:
    """A body that says nothing but a code, there."""
    made: Any = CODE
    for step in reversed(path):
        made = [made] if step == 0 else {step: made}
    return made


def error_at(errors: Any, path: Path) -> Any:
    for step in path:
        errors = errors.get(str(step)) if isinstance(errors, dict) else None
    return errors


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, str, str, Path]]:
    """Method, address, a role that may, and where a free text stands in the body."""
    for address, item in document["paths"].items():
        for method in ("post", "put", "patch", "delete"):
            content = item.get(method, {}).get("requestBody", {}).get("content", {})
            for path in texts(document, content.get("application/json", {}).get("schema", {})):
                if "x-roles" in item[method] and (address, path[0]) not in ELSEWHERE:
                    yield method, address, item[method]["x-roles"][0], path


def test_in_any_text_of_any_request_it_is_refused_by_name(any_service: ServiceUnderTest) -> None:
    document = any_service.client.get("/openapi.json").get_json()
    faults, tried = [], 0
    for method, address, role, path in bodies(document):
        if address == "/v1/grants/bulk" or path[-3:-1] == ("when", "x"):
            continue  # lines are tried below; a condition names a choice of the rule itself, which is tried
        scope = new_id() if Role(role) in SCOPED else None
        headers = any_service.headers(role, scope, subject="operator_bridge", key=str(new_id()))
        where = "/".join(str(new_id()) if piece.startswith("{") else piece for piece in address.split("/"))
        answer = any_service.app.test_client().open(where, method=method, json=with_code_at(path), headers=headers)
        problem = answer.get_json(silent=True) or {}
        if answer.status_code != 422 or not error_at(problem.get("errors"), path) or CODE in answer.text:
            faults.append(f"{method} {address} {path}: {answer.status_code} {answer.text[:200]}")
        tried += 1
    assert not faults, "\n".join(faults)
    assert tried > 8


def test_in_any_text_of_a_line_it_is_refused(office: Office) -> None:
    office.envelope(100_000)
    person = {"family_name": "Dupont", "given_name": "Anne", "birth_date": "1961-03-09"}
    order = {"programme": "pass", "amount_cents": 5000, "reason": "Vu.", "reference": "r", "beneficiary": person}
    named = ("programme", "reason", "target_public", "exception_reason", "reference", "lot")
    lines = [order | {name: CODE} for name in named]
    lines += [order | {"beneficiary": person | {name: CODE}} for name in ("family_name", "given_name")]
    answer = office.post("/v1/grants/bulk", [*lines, order], "prescriber", office.prescriber)
    *refused, granted = office.made(answer, 200)["lines"]
    assert "grant_id" in granted
    assert [told_of_a_code(line) for line in refused] == [True] * len(lines)
    assert CODE not in answer.text


def told_of_a_code(line: dict[str, Any]) -> bool:
    return HOLDS_CODE in str(line["problem"]["errors"])
