"""What the fixtures `issuer`, `redeemer` and `bridge` give a test."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from shared.config import Settings
from shared.runtime import Runtime
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
        found: Runtime = self.app.extensions["souche"]
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
    """Empties every table of a schema but Alembic's own, in one statement."""
    with owner.begin() as connection:
        found = connection.execute(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = :schema AND tablename <> 'alembic_version'"),
            {"schema": schema},
        )
        tables = ", ".join(f'{schema}."{name}"' for name in found.scalars())
        if tables:
            connection.execute(sa.text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
