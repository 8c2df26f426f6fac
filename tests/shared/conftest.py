"""A database with nothing in it but what every service has: its event log, its cursors, its kept answers."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from demo.stack.embedded import EmbeddedPostgres
from shared.database import engine
from shared.database.migrations.versions import access_tables, audit_tables, event_tables, retention
from shared.http import app
from shared.process.runtime import Runtime
from shared.settings import settings
from tests.serving import served

_NAMES = itertools.count()
READERS_TABLES = """
    CREATE TABLE cheque (cheque_id uuid PRIMARY KEY, steps text[] NOT NULL DEFAULT '{}');
"""


class Logs:
    """The bare logs of two services in one database: `issuer` publishes, `redeemer` reads."""

    def __init__(self, postgres: EmbeddedPostgres, database: str, environ: Mapping[str, str]) -> None:
        self.postgres = postgres
        self.database = database
        urls = {
            f"{name.upper()}_DATABASE_URL": postgres.url("souche", database)
            for name in ("issuer", "redeemer", "operator_bridge")
        }
        self.environ = dict(environ) | urls

    def create(self) -> None:
        """Makes the database, both schemas and a table of effects on the reader's side."""
        with sa.create_engine(self.postgres.url(), isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {self.database}")
        for schema in ("issuer", "redeemer"):
            with engine.connect(self.postgres.url("souche", self.database), schema, 1).begin() as connection:
                connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
                op = Operations(MigrationContext.configure(connection))
                event_tables.create_event_tables(op)
                retention.add(op)
                access_tables.create_trust_tables(op)
                audit_tables.create(op)
                if schema == "redeemer":
                    connection.exec_driver_sql(READERS_TABLES)

    def runtime(self, service: str) -> Runtime:
        """The runtime of one of the two."""
        return Runtime(settings.load(service, self.environ))

    @contextmanager
    def publisher(self) -> Iterator[Runtime]:
        """The issuer's feed served over HTTP, at the address where its readers look."""
        application = app.build("issuer", settings.load("issuer", self.environ), [])
        with served(application, self.environ["ISSUER_URL"]):
            yield application.extensions["souche"].runtime


@pytest.fixture
def make_logs(environ: Mapping[str, str]) -> Callable[[EmbeddedPostgres], Logs]:
    """Makes logs in any cluster; `create` has not been called yet."""
    return lambda cluster: Logs(cluster, f"logs_{next(_NAMES)}", environ)


@pytest.fixture
def logs(postgres: EmbeddedPostgres, make_logs: Callable[[EmbeddedPostgres], Logs]) -> Logs:
    """Fresh logs in the session's cluster."""
    fresh = make_logs(postgres)
    fresh.create()
    return fresh
