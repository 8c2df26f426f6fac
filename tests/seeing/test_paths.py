"""A file, folder or module that a page names in backticks is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *sorted(ROOT.glob("docs/**/*.md"))]
QUOTED = re.compile(r"`([^`\s]+)`")
PATH = re.compile(r"(?:services|shared|souche|demo|tests|benchmarks|deploy|docs|typings)/[\w./-]*")
MODULE = re.compile(r"(?:services|shared|demo|benchmarks|deploy|souche\.(?:commands|verify|keys))(?:\.\w+)+")
FILE = re.compile(r"\w[\w-]*\.(?:py|sql|typ)")
OF_COMPOSE = {"deploy.resources.limits"}
IMAGINARY = "## Where three features would go"


def _text(page: Path) -> str:
    """What a page says of what there is: the examples that are made up are left out."""
    text = page.read_text(encoding="utf-8")
    before, _, example = text.partition(IMAGINARY)
    return before + (example.partition("\n## ")[2] if example else "")


def _is_module(name: str) -> bool:
    """Whether this is a module or package, or a name in one."""
    path = ROOT.joinpath(*name.split("."))
    return any(place.is_dir() or place.with_suffix(".py").is_file() for place in (path, path.parent))


def _is_there(quoted: str, files: set[str]) -> bool:
    if PATH.fullmatch(quoted):
        return (ROOT / quoted).exists()
    if FILE.fullmatch(quoted):
        return quoted in files
    return not MODULE.fullmatch(quoted) or quoted in OF_COMPOSE or _is_module(quoted)


@pytest.fixture(scope="module")
def files() -> set[str]:
    folders = ("services", "shared", "souche", "demo", "tests", "benchmarks", "deploy")
    return {path.name for folder in folders for path in (ROOT / folder).rglob("*.*")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path, files: set[str]) -> None:
    assert [quoted for quoted in QUOTED.findall(_text(page)) if not _is_there(quoted, files)] == []


@pytest.mark.parametrize("quoted", ["shared/nowhere.py", "services.issuer.nothing.at_all", "nosuch.sql"])
def test_what_is_not_there_is_seen(quoted: str, files: set[str]) -> None:
    assert not _is_there(quoted, files)
