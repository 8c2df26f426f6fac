"""What a caller may not set cannot be set: a property that a request does not have is refused, not passed over."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.access.tokens import SCOPED, Role
from shared.problems import MAX_ERRORS
from shared.settings.settings import SERVICES
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest

# What rows have and requests must not: whose they are, how they stand, what they come to, who made them and when.
TEMPTING = {
    "id", "prescriber_id", "structure_id", "owner", "scope", "role", "state", "ending", "status", "amount_cents",
    "value_cents", "due_cents", "paid_cents", "engaged_cents", "confirmed_cents", "envelope_id", "statement_id",
    "points", "rule_version", "created_at", "created_by", "made_by", "issued_by", "granted_by", "asked_by",
    "suspended_at", "disabled_at", "client_secret", "is_admin", "role_id", "__class__",
}  # fmt: skip


@pytest.fixture(params=SERVICES)
def any_service(request: pytest.FixtureRequest, service: Callable[[str], ServiceUnderTest]) -> ServiceUnderTest:
    return service(request.param)


def objects(service: ServiceUnderTest) -> Iterator[tuple[str, str, list[str], dict[str, Any]]]:
    """Method, path, roles and properties of each operation that takes a JSON object."""
    document = service.client.get("/openapi.json").get_json()
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        for method in ("post", "put", "patch", "delete"):
            content = item.get(method, {}).get("requestBody", {}).get("content", {})
            reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
            if reference and item[method].get("x-roles"):
                yield method, path, item[method]["x-roles"], schemas[reference.rpartition("/")[2]]["properties"]


def address(path: str) -> str:
    return "/".join(str(new_id()) if piece.startswith("{") else piece for piece in path.split("/"))


def test_a_property_that_is_not_the_callers_to_set_is_refused_by_name(any_service: ServiceUnderTest) -> None:
    found, faults = 0, []
    for method, path, roles, properties in objects(any_service):
        settable = {name for name, schema in properties.items() if not schema.get("readOnly")}
        refused = sorted((TEMPTING | set(properties)) - settable)
        for role in roles:
            scope = new_id() if Role(role) in SCOPED else None
            headers = any_service.headers(role, scope, subject="operator_bridge", key=str(new_id()))
            for start in range(0, len(refused), MAX_ERRORS // 2):  # beside those that are missing
                names = refused[start : start + MAX_ERRORS // 2]
                body = dict.fromkeys(names, "1")
                answer = any_service.app.test_client().open(address(path), method=method, json=body, headers=headers)
                errors = (answer.get_json(silent=True) or {}).get("errors", {})
                if answer.status_code != 422 or not set(names) <= set(errors):
                    accepted = sorted(set(names) - set(errors))
                    faults.append(f"{role} {method} {path}: {answer.status_code}, accepts {accepted}")
            found += 1
    assert not faults, "\n".join(faults)
    assert found > 8
