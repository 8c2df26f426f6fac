"""OpenAPI links: where the thing that an answer names can be asked for, or acted upon.

They follow from the names: an answer with a `grant_id` leads to every route with `{grant_id}` in its path, one with a
`code` only to those below the address that made it.
"""

from collections.abc import Iterator
from typing import Any

_SCHEMAS = "#/components/schemas/"
_METHODS = ("get", "post", "put", "patch", "delete")


def add(described: dict[str, Any]) -> None:
    """Adds links to the answers of all that creates or shows one thing."""
    for path, operation in _operations(described):
        for status, answer in operation["responses"].items():
            members = _members(described, answer) if status in ("200", "201", "202") else {}
            found = dict(_links(described, path, members))
            if found:
                answer["links"] = found


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        yield from ((path, item[method]) for method in _METHODS if method in item)


def _members(described: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The members of the object that an answer holds; none where it holds anything else."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").removeprefix(_SCHEMAS)
    found: dict[str, Any] = described.get("components", {}).get("schemas", {}).get(name, {}).get("properties", {})
    return found


def _links(described: dict[str, Any], path: str, members: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for target, operation in _operations(described):
        names = [piece[1:-1] for piece in target.split("/") if piece.startswith("{")]
        if target != path and len(names) == 1 and names[0] in members and _leads(path, target, names[0]):
            parameters = {names[0]: f"$response.body#/{names[0]}"}
            yield (
                operation["operationId"].replace(".", "_"),
                {"operationId": operation["operationId"], "parameters": parameters},
            )


def _leads(path: str, target: str, name: str) -> bool:
    return name.endswith("_id") or target.startswith(f"{path}/{{{name}}}")
