"""Requests for the tests of permissions, what answers may give away, and what may have changed."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pypdf import PdfReader
from werkzeug.test import TestResponse

from shared.access.permissions import EVERYBODY, ROLES, Permission
from shared.access.tokens import SCOPED, Role
from shared.settings.settings import SERVICES
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
_LINE = re.compile(r"\| `(?P<method>[A-Z]+) (?P<path>\S+)` \| (?P<cells>.+) \|")


def tables(page: str) -> dict[str, tuple[Permission, ...]]:
    """The permissions by service, as the checked-in page has them: a slip in a view differs from it."""
    found: dict[str, list[Permission]] = {}
    for part in page.split("\n## ")[1:]:
        heading = part.partition("\n")[0]
        found[heading.lower().replace(" ", "_")] = [_permission(line) for line in _LINE.finditer(part)]
    return {service: (*found["every_service"], *found[service]) for service in SERVICES}


def _permission(line: re.Match[str]) -> Permission:
    cells = dict(zip(ROLES, line["cells"].split(" | "), strict=True))
    reach = {role: cell for role, cell in cells.items() if cell not in ("-", EVERYBODY)}
    return Permission(line["method"], line["path"], reach)


TABLES: Mapping[str, tuple[Permission, ...]] = tables(PAGE.read_text(encoding="utf-8"))
SAFE = "GET"
_SETTING = re.compile(r"<[^>]*>|[\s-]")
# What is written of every request, whatever comes of it.
_BOOKS = frozenset({"alembic_version", "idempotent_answer", "audit_entry"})


@dataclass
class World:
    """A service in which two of a kind have things of the same sorts."""

    service: ServiceUnderTest
    role: Role
    owner: UUID
    other: UUID
    names: dict[str, str]
    """The owner's things, by the name that paths have for them."""
    marks: set[str] = field(repr=False)
    """What gives the owner's things away: identifiers, codes, references, names, words."""
    extra: dict[str, Any] = field(default_factory=dict)

    def headers(self, role: Role, scope: UUID | None) -> dict[str, str]:
        """The headers of somebody's fresh request."""
        return self.service.headers(role, scope if role in SCOPED else None, key=str(new_id()))


@dataclass(frozen=True)
class Case:
    """A request that names what is the owner's."""

    method: str
    path: str
    query: str = ""
    body: Any = None
    """JSON, or CSV where it is bytes."""
    refused: bool = True
    """Whether another than the owner is refused; else it gets an answer that has nothing of the owner's."""
    status: int = 404
    leaves: frozenset[str] = frozenset()
    """The tables in which it leaves what is of the asker alone."""

    @property
    def route(self) -> tuple[str, str]:
        """The line of the table."""
        return self.method, self.path


def send(world: World, case: Case, scope: UUID, role: Role | None = None) -> TestResponse:
    """The answer to a case, as somebody asks it."""
    address = case.path.format_map(world.names) + case.query
    headers = world.headers(role or world.role, scope)
    client = world.service.app.test_client()
    if isinstance(case.body, bytes):
        return client.open(address, method=case.method, data=case.body, content_type="text/csv", headers=headers)
    return client.open(address, method=case.method, json=case.body, headers=headers)


def readable(answer: TestResponse) -> str:
    """All that an answer says: its headers and its text, that of a PDF included."""
    heads = json.dumps(list(answer.headers.items()))
    if answer.mimetype == "application/pdf":
        pages = PdfReader(io.BytesIO(answer.data)).pages
        return heads + "\n".join(page.extract_text() for page in pages)
    return heads + answer.text


def given_away(world: World, case: Case, answer: TestResponse) -> list[str]:
    """The owner's marks that stand in an answer, however they are set. A refusal may repeat what the asker said."""
    asked = f"{case.path.format_map(world.names)}{case.query} {case.body}" if answer.status_code >= 400 else ""
    heard, said = _bare(asked), _bare(readable(answer))
    return sorted(mark for mark in world.marks if _bare(mark) in said and _bare(mark) not in heard)


def _bare(text: str) -> str:
    return _SETTING.sub("", text).casefold()


def contents(service: ServiceUnderTest) -> dict[str, str]:
    """What every table holds, as a digest of each."""
    schema = service.settings.service
    with service.runtime.engine.connect() as connection:
        names = connection.scalars(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = :schema"), {"schema": schema}
        )
        parts = [
            f"SELECT '{name}' AS name, md5(coalesce(string_agg(row::text, ';' ORDER BY row::text), '')) AS digest"
            f" FROM {schema}.{name} row"
            for name in sorted(set(names) - _BOOKS)
        ]
        return {row.name: row.digest for row in connection.execute(sa.text(" UNION ALL ".join(parts)))}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The tables that hold something else."""
    return sorted(name for name in before if before[name] != after[name])
