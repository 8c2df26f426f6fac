"""Migrations: one history per service, in its own schema, run by the database's owner.

`upgrade` also makes what the service's role needs and no more: the role itself, its schema, the right to read and
write rows there. The log of events is append-only for it: it may give a position, not change or delete.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy.dialects import postgresql as pg

from shared.database import engine as db

_ROOT = Path(__file__).resolve().parents[2]
# A migration gives up rather than make the tills wait behind it.
_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "10min"


def upgrade(service: str, owner_url: str, service_url: str, revision: str = "head") -> None:
    """Brings a service's schema to a revision. The role and its password are those of `service_url`."""
    url = sa.make_url(service_url)
    engine = db.connect(owner_url, service, 1)
    try:
        with engine.begin() as connection:
            _make_role(connection, service, url.username or f"souche_{service}", url.password)
        with engine.begin() as connection:
            _run(connection, service, "upgrade", revision)
        with engine.begin() as connection:
            _grant(connection, service, url.username or f"souche_{service}")
    finally:
        engine.dispose()


def downgrade(service: str, owner_url: str, revision: str) -> None:
    """Takes a service's schema back to a revision (`base` for none)."""
    engine = db.connect(owner_url, service, 1)
    try:
        with engine.begin() as connection:
            _run(connection, service, "downgrade", revision)
    finally:
        engine.dispose()


def _run(connection: sa.Connection, service: str, direction: str, revision: str) -> None:
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    connection.execute(sa.text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("version_locations", str(_ROOT / "services" / service / "migrations" / "versions"))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, schema=service)
    {"upgrade": command.upgrade, "downgrade": command.downgrade}[direction](config, revision)


def current(connection: sa.Connection) -> str | None:
    """The revision at which the schema of a connection stands."""
    return MigrationContext.configure(connection).get_current_revision()


def head(service: str) -> str | None:
    """The newest revision of a service."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("version_locations", str(_ROOT / "services" / service / "migrations" / "versions"))
    config.set_main_option("path_separator", "newline")
    return ScriptDirectory.from_config(config).get_current_head()


def _make_role(connection: sa.Connection, service: str, role: str, password: str | None) -> None:
    quoted = connection.dialect.identifier_preparer.quote(role)
    known = connection.execute(sa.text("SELECT FROM pg_roles WHERE rolname = :role"), {"role": role}).one_or_none()
    if known is None:
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


def create_event_tables(op: Any) -> None:
    """The tables that every service has: its log, what it read of the others', and the answers kept for repeats."""
    _create_log(op)
    _create_reading(op)
    op.create_table(
        "idempotent_answer",
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def _create_log(op: Any) -> None:
    op.create_table(
        "event",
        sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("position", sa.BigInteger),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("version", sa.SmallInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("body", pg.JSONB, nullable=False),
        sa.UniqueConstraint("position", name="event_position_key"),
        sa.UniqueConstraint("event_id", name="event_event_id_key"),
    )
    op.create_index("event_unnumbered_idx", "event", ["sequence"], postgresql_where=sa.text("position IS NULL"))
    op.create_table(
        "feed_epoch",
        sa.Column("single", sa.Boolean, sa.CheckConstraint("single"), primary_key=True, server_default=sa.true()),
        sa.Column("epoch", sa.Uuid, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
    )


def _create_reading(op: Any) -> None:
    op.create_table(
        "cursor",
        sa.Column("publisher", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Uuid, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "applied_event",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("publisher", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "applied_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
        ),
    )
    op.create_index("applied_event_applied_at_idx", "applied_event", ["applied_at"], postgresql_using="brin")
    op.create_table(
        "parked_event",
        sa.Column("cheque_id", sa.Uuid, primary_key=True),
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", pg.JSONB, nullable=False),
    )


def drop_event_tables(op: Any) -> None:
    """Takes back `create_event_tables`."""
    for table in ("idempotent_answer", "parked_event", "applied_event", "cursor", "feed_epoch", "event"):
        op.drop_table(table)


def create_trust_tables(op: Any) -> None:
    """The tables by which every service knows whom to let in (`shared.access.models`)."""
    op.create_table(
        "oauth_client",
        sa.Column("client_id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scope", sa.Uuid),
        *_made(),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
        sa.Column("disabled_reason", sa.Text),
    )
    op.create_table(
        "oauth_secret",
        sa.Column("secret_id", sa.Uuid, primary_key=True),
        sa.Column("client_id", sa.Uuid, sa.ForeignKey("oauth_client.client_id"), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        *_made(),
    )
    op.create_index("oauth_secret_client_id_idx", "oauth_secret", ["client_id"])
    op.create_table(
        "membership",
        sa.Column("membership_id", sa.Uuid, primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scope", sa.Uuid),
        *_made(),
        sa.UniqueConstraint(
            "provider",
            "subject",
            "role",
            "scope",
            name="membership_provider_subject_role_scope_key",
            postgresql_nulls_not_distinct=True,
        ),
    )
    _create_refusals(op)


def _create_refusals(op: Any) -> None:
    op.create_table(
        "revocation",
        sa.Column("revocation_id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revoked_by", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('token', 'subject', 'scope')", name="revocation_kind_check"),
    )
    op.create_table(
        "token_failure",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
    )


def _made() -> tuple[sa.Column[Any], ...]:
    """When a row was made, and by whom."""
    return (
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
    )


def drop_trust_tables(op: Any) -> None:
    """Takes back `create_trust_tables`."""
    for table in ("token_failure", "revocation", "membership", "oauth_secret", "oauth_client"):
        op.drop_table(table)
