"""No statement of SQL is put together while a request is there: what is composed is composed when a module is loaded.

That is the review of every `noqa: S608`, done again at each run: a text with SQL in it is composed at the top of a
module, or by a function that is called there and nowhere else, or of constants of the module alone. What a request
brings can be in none of these. Migrations and what they stand on run for the owner of the database and read no request.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.supply.locks import ROOT

_SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|SET LOCAL|WHERE|FROM|ORDER BY)\b")
_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
FILES = [
    path
    for folder in ("services", "shared", "souche")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "migrations" not in path.parts
]


class Composed(ast.NodeVisitor):
    """Finds the texts with SQL that are put together in a module, each with the function that does it."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.found: list[tuple[ast.expr, list[str]]] = []
        self.called: list[tuple[str, list[str]]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.inside.append(node.name)
        self.generic_visit(node)
        self.inside.pop()

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._look(node, node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add | ast.Mod):
            self._look(node, node.left, node.right)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join", "replace", "format_map"):
            self._look(node, node.func.value)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.called.append((node.id, list(self.inside)))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.called.append((node.attr, list(self.inside)))
        self.generic_visit(node)

    def _look(self, whole: ast.expr, *parts: ast.expr) -> None:
        if any(_SQL.search(text) for part in parts for text in _texts(part)):
            self.found.append((whole, list(self.inside)))
        self.generic_visit(whole)


def _texts(node: ast.expr) -> Iterator[str]:
    pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
    yield from (piece.value for piece in pieces if isinstance(piece, ast.Constant) and isinstance(piece.value, str))


def composed(source: str) -> tuple[list[str], int]:
    """What is put together where a request may be there, and how many texts were looked at."""
    visitor = Composed()
    visitor.visit(ast.parse(source))
    used_inside = _used_inside(visitor)
    of_all = composing_for_all()
    wrong = [
        f"line {node.lineno}: {ast.unparse(node)[:100]}"
        for node, inside in visitor.found
        if inside
        and (inside[-1] in used_inside or not (inside[-1].startswith("_") or inside[-1] in of_all))
        and not _of_constants(node)
    ]
    return wrong, len(visitor.found)


@functools.cache
def composing_for_all() -> frozenset[str]:
    """What is called at the top of some module, and by no function of any: it may compose for others."""
    above, inside = set(), set()
    for path in FILES:
        visitor = Composed()
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        above |= {name for name, within in visitor.called if not within}
        inside |= _used_inside(visitor)
    return frozenset(above - inside)


def _used_inside(visitor: Composed) -> set[str]:
    return {name for name, inside in visitor.called if inside and inside[-1] != name}


def _of_constants(node: ast.expr) -> bool:
    if not isinstance(node, ast.JoinedStr):
        return False
    put_in = [piece.value for piece in node.values if isinstance(piece, ast.FormattedValue)]
    return all(isinstance(value, ast.Name) and _CONSTANT.fullmatch(value.id) for value in put_in)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_is_put_together_of_constants_when_a_module_is_loaded(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    wrong, looked_at = composed(source)
    assert wrong == []
    assert looked_at >= source.count("noqa: S608")


def test_there_is_something_to_look_at() -> None:
    assert sum(composed(path.read_text(encoding="utf-8"))[1] for path in FILES) > 25


@pytest.mark.parametrize(
    "source",
    [
        'def find(name):\n    return run(f"SELECT * FROM {name}")',
        "def find(name):\n    return run('SELECT * FROM t WHERE name = ' + name)",
        "def find(name):\n    return run('SELECT * FROM %s' % name)",
        "def find(name):\n    return run('SELECT * FROM {}'.format(name))",
        "def _made(name):\n    return f'SELECT * FROM {name}'\n\ndef find(name):\n    return run(_made(name))",
        "class Finder:\n    def find(self):\n        return f'UPDATE t SET a = {self.name}'",
    ],
)
def test_one_that_takes_what_a_caller_sent_is_found(source: str) -> None:
    assert composed(source)[0]
