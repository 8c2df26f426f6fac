"""Migrations: one history per service, in its own schema, run by the database's owner.

`upgrade` also makes what the service's role needs and no more: the role itself, its schema, the right to read and
write rows there. The log of events is append-only for it: it may give a position, not change or delete.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql

from shared.database import engine as db

_ROOT = Path(__file__).resolve().parents[3]
# A migration gives up rather than make the tills wait behind it.
_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "10min"


def upgrade(service: str, owner_url: str, service_url: str, revision: str = "head") -> None:
    """Brings a service's schema to a revision. The role and its password are those of `service_url`."""
    url = sa.make_url(service_url)
    role = url.username or f"souche_{service}"
    with _owner(owner_url, service) as engine:
        with engine.begin() as connection:
            _make_role(connection, service, role, url.password)
        with engine.begin() as connection:
            _run(connection, service, command.upgrade, revision)
        with engine.begin() as connection:
            _grant(connection, service, role)


def downgrade(service: str, owner_url: str, revision: str) -> None:
    """Takes a service's schema back to a revision (`base` for none)."""
    with _owner(owner_url, service) as engine, engine.begin() as connection:
        _run(connection, service, command.downgrade, revision)


@contextmanager
def _owner(url: str, service: str) -> Iterator[sa.Engine]:
    engine = db.connect(url, service, 1)
    try:
        yield engine
    finally:
        engine.dispose()


def _run(connection: sa.Connection, service: str, run: Callable[[Config, str], None], revision: str) -> None:
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    connection.execute(sa.text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
    config = _config(service)
    config.attributes.update(connection=connection, schema=service)
    run(config, revision)


def current(connection: sa.Connection) -> str | None:
    """The revision at which the schema of a connection stands."""
    return MigrationContext.configure(connection).get_current_revision()


def head(service: str) -> str | None:
    """The newest revision of a service."""
    return ScriptDirectory.from_config(_config(service)).get_current_head()


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("version_locations", str(_ROOT / "services" / service / "migrations" / "versions"))
    config.set_main_option("path_separator", "newline")
    return config


def _make_role(connection: sa.Connection, service: str, role: str, password: str | None) -> None:
    quoted = connection.dialect.identifier_preparer.quote(role)
    existing = connection.execute(sa.text("SELECT FROM pg_roles WHERE rolname = :role"), {"role": role}).one_or_none()
    if existing is None:
        connection.execute(sa.text(f"CREATE ROLE {quoted} LOGIN"))
    if password:
        command_text = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), password)
        connection.exec_driver_sql(command_text.as_string().replace("%", "%%"))
    connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {service}"))


def _grant(connection: sa.Connection, service: str, role: str) -> None:
    quoted = connection.dialect.identifier_preparer.quote(role)
    for statement in (
        f"GRANT USAGE ON SCHEMA {service} TO {quoted}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {service} TO {quoted}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {service} TO {quoted}",
        f"REVOKE UPDATE, DELETE ON event FROM {quoted}",
        f"GRANT UPDATE (position) ON event TO {quoted}",
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {quoted}",
        f"ALTER ROLE {quoted} SET search_path = {service}",
    ):
        connection.execute(sa.text(statement))
    # Earlier revisions have no audit trail.
    if connection.execute(sa.text("SELECT to_regclass('audit_entry')")).scalar() is not None:
        connection.execute(sa.text(f"REVOKE UPDATE, DELETE ON audit_entry FROM {quoted}"))
        connection.execute(sa.text(f"GRANT UPDATE (position, hash) ON audit_entry TO {quoted}"))
