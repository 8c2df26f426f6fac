"""The walls, as far as import-linter does not hold them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = sorted(path for room in ("services", "shared", "souche") for path in (ROOT / room).rglob("*.py"))
OPERATORS = ROOT / "services" / "operator_bridge" / "operators"
NAMES = sorted(path.stem for path in OPERATORS.glob("*.py") if path.stem not in ("__init__", "lookup"))
FACES = re.compile(r"(api(_\w+)?|tasks|__init__)\.py")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_is_something_to_look_at() -> None:
    assert len(PRODUCT) > 30
    assert "regie" in NAMES


def test_use_cases_know_neither_flask_nor_celery() -> None:
    use_cases = [path for path in PRODUCT if "services" in path.parts and not FACES.fullmatch(path.name)]
    outer = (
        "flask",
        "flask_smorest",
        "celery",
        "shared.http.request_context",
        "shared.http.app",
        "shared.process.celery",
    )
    wrong = [
        (str(path.relative_to(ROOT)), name) for path in use_cases for name in imported(parsed(path)) if name in outer
    ]
    assert wrong == []


def test_no_function_imports() -> None:
    functions = [
        (path, node)
        for path in PRODUCT
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [f"{path.name}: {function.name}" for path, function in functions if any(imported(function))] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_other_file_of_the_product_names_an_operator(name: str) -> None:
    word = re.compile(rf"\b{name}\b", re.IGNORECASE)
    others = [path for path in PRODUCT if path.parent != OPERATORS]
    deployment = [path for path in (ROOT / "docker-compose.yml", ROOT / "Dockerfile") if path.exists()]
    assert [path.name for path in others + deployment if word.search(path.read_text(encoding="utf-8"))] == []
