"""The glossary names tables and routes that there are, and leaves out no table."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ") and "French" not in line]
DECLARED = re.compile(r"""__tablename__ = "(\w+)"|sa\.Table\(\s*"(\w+)",""")


def _names(column: int) -> set[str]:
    return {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[column])}


def _tables() -> set[str]:
    sources = [path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py")]
    found = [
        match for path in sources if "versions" not in path.parts for match in DECLARED.findall(path.read_text("utf-8"))
    ]
    return {orm or core for orm, core in found}


def test_the_glossary_names_every_table_and_no_other() -> None:
    assert _names(4) == _tables()


def test_every_route_of_the_glossary_is_there() -> None:
    permissions = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
    routes = set(re.findall(r"`[A-Z]+ (/[^`]*)`", permissions))
    assert _names(5) <= routes
    assert len(routes) > 100


def test_every_word_is_explained_once() -> None:
    words = [row[1].strip() for row in ROWS]
    assert [word for word in set(words) if words.count(word) > 1] == []
    assert all(len(row) == 7 for row in ROWS)
    assert all(row[2].strip() for row in ROWS)
    assert all(row[3].strip() for row in ROWS)
