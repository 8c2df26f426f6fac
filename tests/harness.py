"""What the fixtures `issuer`, `redeemer` and `bridge` give a test."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from shared.process.runtime import Runtime
from shared.settings.settings import Settings
from souche.keys import Signer


@dataclass
class ServiceUnderTest:
    """One service on an empty schema: its application, not its web server or its worker."""

    app: Flask
    settings: Settings
    signer: Signer
    environ: Mapping[str, str]

    @property
    def runtime(self) -> Runtime:
        """The runtime that the application itself uses."""
        found: Runtime = self.app.extensions["souche"].runtime
        return found

    @cached_property
    def client(self) -> FlaskClient:
        """Flask's test client: `issuer.client.get("/v1/grants", headers=issuer.headers("prescriber", scope))`."""
        return self.app.test_client()

    def token(self, role: str, scope: UUID | str | None = None, subject: str = "test") -> str:
        """A valid token; all three services accept it."""
        return self.signer.token(role, scope, subject)

    def headers(
        self, role: str, scope: UUID | str | None = None, *, subject: str = "test", key: str | None = None
    ) -> dict[str, str]:
        """The headers of a request: the token, and `key` as Idempotency-Key if one is given."""
        headers = {"Authorization": f"Bearer {self.token(role, scope, subject)}"}
        return headers if key is None else headers | {"Idempotency-Key": key}


def empty_tables(owner: sa.Engine, schema: str) -> None:
    """Empties every table of a schema but Alembic's own, and has its sequences begin again.

    A TRUNCATE costs each table a new file, used or not; most tests leave a few rows in a few tables.
    """
    with owner.begin() as connection:
        tables = connection.execute(_TABLES, {"schema": schema}).all()
        if any(size > _LARGE_BYTES for _, size in tables):
            names = ", ".join(name for name, _ in tables)
            connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
        elif tables:
            _delete_rows(connection, [name for name, size in tables if size])
            connection.execute(_RESTART, {"schema": schema})


_LARGE_BYTES = 1 << 20
_TABLES = sa.text("""
    SELECT format('%I.%I', schemaname, tablename) AS name, pg_relation_size(format('%I.%I', schemaname, tablename))
    FROM pg_tables WHERE schemaname = :schema AND tablename <> 'alembic_version'
""")
_RESTART = sa.text("""
    SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false)
    FROM pg_sequences WHERE schemaname = :schema AND last_value IS NOT NULL
""")


def _delete_rows(connection: sa.Connection, names: Iterable[str]) -> None:
    """Without triggers: neither the walls of what is only ever added to nor the audit trail have a say here."""
    statements = ["SET LOCAL session_replication_role = replica", *(f"DELETE FROM {name}" for name in names)]
    connection.execute(sa.text("; ".join(statements)))
