"""The walls, as far as import-linter does not hold them."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = sorted(path for room in ("services", "shared", "souche") for path in (ROOT / room).rglob("*.py"))
OPERATORS = ROOT / "services" / "operator_bridge" / "operators"
NAMES = sorted(path.stem for path in OPERATORS.glob("*.py") if path.stem != "__init__")
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


def test_a_migration_calls_nothing_that_changes_after_it_ran() -> None:
    ours = re.compile(r"(services|shared|souche|demo)\b(?!\.database\.migrations\.versions\b)")
    paths = [*ROOT.glob("services/*/migrations/versions/*.py"), *ROOT.glob("shared/database/migrations/versions/*.py")]
    assert len(paths) > 25
    assert [(path.name, name) for path in paths for name in imported(parsed(path)) if ours.match(name)] == []


def test_only_migrations_import_what_is_frozen_for_them() -> None:
    live = [path for path in PRODUCT if "versions" not in path.parts]
    assert any(path.name == "runner.py" for path in live)
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in live
        for name in imported(parsed(path))
        if name.startswith("shared.database.migrations.versions")
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


API = re.compile(r"api(_\w+)?")
FACTORIES = {"services.issuer", "services.redeemer", "services.operator_bridge", "shared.http.app"}
"""The modules that put an application together of the rooms' APIs."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def sources() -> Mapping[str, str]:
    """The product's modules by name."""
    return {module_name(path): path.read_text(encoding="utf-8") for path in PRODUCT}


@cache
def named_by_imports(source: str) -> frozenset[str]:
    """What a source imports: modules, and names of modules with their module before them."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def wrong_doors(code: Mapping[str, str]) -> set[tuple[str, str]]:
    """Imports of another room's API, of a use case's own room's API, and of use cases by models.

    Transitions are data, as models are.
    """
    wrong = set()
    for name, source in code.items():
        room, _, base = name.rpartition(".")
        for target in named_by_imports(source) & code.keys():
            other, _, door = target.rpartition(".")
            through_api = API.fullmatch(door) and name not in FACTORIES
            of_elsewhere = through_api and (other != room or not API.fullmatch(base))
            upwards = other == room and base == "models" and door != "transitions"
            if of_elsewhere or upwards:
                wrong.add((name, target))
    return wrong


def test_apis_are_imported_by_nobody_below_them_and_models_import_no_use_case() -> None:
    assert wrong_doors(sources()) == set()


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("services.issuer.lots.api", "from services.issuer.grants import api_bulk"),
        ("services.issuer.reports.conventions", "from services.issuer.grants.api import GrantSchema"),
        ("services.issuer.grants.granting", "import services.issuer.grants.api"),
        ("services.issuer.grants.models", "from services.issuer.grants.lots import admit"),
        ("services.redeemer.tasks", "from services.redeemer.payments import api"),
        ("shared.eventlog.log", "from shared.http import api_events"),
    ],
)
def test_a_wrong_door_is_seen(name: str, planted: str) -> None:
    code = sources()
    planted_code = {**code, name: f"{code[name]}\n{planted}\n"}
    assert [importer for importer, _ in wrong_doors(planted_code) - wrong_doors(code)] == [name]


def layers_contracts() -> Iterator[tuple[str, list[str]]]:
    """The package of each layers contract, and its layers from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    for contract in contracts:
        if contract["type"] == "layers":
            yield contract["containers"][0], [layer.split(" ")[0] for layer in contract["layers"]]


def plant(root: Path, module: str, line: str) -> None:
    """Adds a line to a module of a copy, made where there is none."""
    path = root.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"\n{line}\n")


def test_every_layers_contract_refuses_an_import_upwards_and_a_module_of_no_layer(tmp_path: Path) -> None:
    for folder in ("services", "shared", "souche", "demo"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    contracts = list(layers_contracts())
    for package, layers in contracts:
        plant(tmp_path, f"{package}.{layers[-1]}", f"import {package}.{layers[0]}")
        plant(tmp_path, f"{package}.of_no_layer", '"""Stands beside the rooms."""')
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    told = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    report = " ".join(told.stdout.split())
    assert len(contracts) == 6
    for package, layers in contracts:
        assert f"{package}.{layers[-1]} -> {package}.{layers[0]} " in report
        assert f"{package}.of_no_layer" in report


@pytest.mark.parametrize("name", NAMES)
def test_no_other_file_of_the_product_names_an_operator(name: str) -> None:
    word = re.compile(rf"\b{name}\b", re.IGNORECASE)
    others = [path for path in PRODUCT if path.parent != OPERATORS]
    deployment = [path for path in (ROOT / "docker-compose.yml", ROOT / "Dockerfile") if path.exists()]
    assert [path.name for path in others + deployment if word.search(path.read_text(encoding="utf-8"))] == []


# Every state of an order stands in `transitions`; where it is written is said once.
WRITES_ORDERS = re.compile(
    r"INSERT\s+INTO\s+operator_order|UPDATE\s+operator_order|DELETE\s+FROM\s+operator_order|\b(insert|update|delete)\(Order\)|"
    r"\bsession\.add\w*\(Order\(",
    re.IGNORECASE,
)


def test_orders_are_created_in_one_module_and_changed_in_one() -> None:
    orders = ROOT / "services" / "operator_bridge" / "orders"
    sources = [path for path in PRODUCT if "migrations" not in path.parts]
    sources += ROOT.glob("services/**/*.sql")
    writers = {path for path in sources if WRITES_ORDERS.search(path.read_text(encoding="utf-8"))}
    assert writers == {orders / "creating.py", orders / "outcomes.py"}
    changes = re.compile(r"UPDATE\s+operator_order", re.IGNORECASE)
    assert not changes.search((orders / "creating.py").read_text(encoding="utf-8"))
    assert not re.search(r"INTO\s+operator_order", (orders / "outcomes.py").read_text(encoding="utf-8"))


def test_redemptions_are_made_by_three_statements_and_their_states_changed_in_the_settlement() -> None:
    redeemer = ROOT / "services" / "redeemer"
    sources = [path for path in (*redeemer.rglob("*.py"), *redeemer.rglob("*.sql")) if "migrations" not in path.parts]
    texts = {str(path.relative_to(redeemer)): path.read_text(encoding="utf-8") for path in sources}
    made = re.compile(r"INSERT\s+INTO\s+redemption\b|\binsert\(Redemption\)|[^\w.]Redemption\(\w+=")
    changed = re.compile(
        r"UPDATE\s+redemption\s+SET\s+(unpaid_)?state\b|^\s*redemption\.state\s*=[^=]|\bupdate\(Redemption\)",
        re.MULTILINE,
    )
    assert {name for name, text in texts.items() if made.search(text)} == {
        "redemptions/redeem.sql", "redemptions/operator_till.py", "recovery/recalling.py",
    }  # fmt: skip
    assert {name for name, text in texts.items() if changed.search(text)} == {
        "payments/settlement.py", "payments/settle.sql",
    }  # fmt: skip
