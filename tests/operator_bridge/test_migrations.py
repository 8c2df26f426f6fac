"""The migrations make what the models say, and each of them takes itself back."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from demo.stack.embedded import EmbeddedPostgres
from services.operator_bridge.register.models import Base
from services.operator_bridge.register.models_reconciliation import Discrepancy
from services.operator_bridge.register.models_switch import Switch
from shared.database import engine as db
from shared.database.migrations import runner as migrations

DATABASE = "bridge_migrations"
LATER = (Discrepancy.__tablename__, Switch.__tablename__)
REVISIONS = ("0004_switch", "0003_reconciliation", "0002_hold", "0001_operator_bridge", "base")


@pytest.fixture
def database(postgres: EmbeddedPostgres, owner: sa.Engine) -> Iterator[str]:
    """A database of its own; gives its owner's address."""
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"CREATE DATABASE {DATABASE}"))
        yield postgres.url(database=DATABASE)
        connection.execute(sa.text(f"DROP DATABASE {DATABASE} WITH (FORCE)"))


def columns(database: str) -> set[tuple[str, str]]:
    """The columns of the schema's tables, and their indexes."""
    query = """
        SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'operator_bridge'
        UNION ALL SELECT tablename, indexname FROM pg_indexes WHERE schemaname = 'operator_bridge'
    """
    engine = db.connect(database, "operator_bridge", 1)
    with engine.connect() as connection:
        found = {(row.table_name, row.column_name) for row in connection.execute(sa.text(query))}
    engine.dispose()
    return found


def test_the_migrations_make_the_columns_that_the_models_say(database: str, postgres: EmbeddedPostgres) -> None:
    migrations.upgrade("operator_bridge", database, postgres.url("souche_operator_bridge", DATABASE))
    engine = db.connect(database, "operator_bridge", 1)
    own = {"include_name": lambda name, kind, _: kind != "table" or name in Base.metadata.tables}
    assert {"contract", *LATER} <= set(Base.metadata.tables)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=own), Base.metadata)
    engine.dispose()
    # The indexes that sets are found by are the migrations' own.
    assert [difference for difference in differences if "index" not in difference[0]] == []


def test_each_migration_takes_itself_back_and_can_be_made_again(database: str, postgres: EmbeddedPostgres) -> None:
    role = postgres.url("souche_operator_bridge", DATABASE)
    migrations.upgrade("operator_bridge", database, role)
    at_head = columns(database)
    for revision in REVISIONS:
        before = columns(database)
        migrations.downgrade("operator_bridge", database, revision)
        assert columns(database) < before
    assert {table for table, _ in columns(database)} == {"alembic_version"}
    migrations.upgrade("operator_bridge", database, role)
    assert columns(database) == at_head
