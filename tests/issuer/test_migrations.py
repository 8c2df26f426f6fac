"""The migrations make what the models say, and take it back."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from demo.embedded import EmbeddedPostgres
from services.issuer.models import STATE, STATES, Base
from shared import db, migrations

DATABASE = "issuer_migrations"


@pytest.fixture
def database(postgres: EmbeddedPostgres, owner: sa.Engine) -> Iterator[str]:
    """A database of its own; gives its owner's address."""
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"CREATE DATABASE {DATABASE}"))
        yield postgres.url(database=DATABASE)
        connection.execute(sa.text(f"DROP DATABASE {DATABASE} WITH (FORCE)"))


@pytest.fixture
def schema(database: str, postgres: EmbeddedPostgres) -> Iterator[sa.Connection]:
    """A connection to the issuer's schema at its head."""
    migrations.upgrade("issuer", database, postgres.url("souche_issuer", DATABASE))
    engine = db.connect(database, "issuer", 1)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def tables(connection: sa.Connection) -> set[str]:
    """The tables of the schema."""
    query = sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'issuer'")
    found = set(connection.execute(query).scalars())
    connection.rollback()
    return found


def test_the_migrations_make_what_the_models_say(schema: sa.Connection) -> None:
    own = {"include_name": lambda name, kind, _: kind != "table" or name in Base.metadata.tables}
    context = MigrationContext.configure(schema, opts=own)
    assert compare_metadata(context, Base.metadata) == []


def test_a_downgrade_leaves_nothing_and_can_be_taken_back(
    schema: sa.Connection, database: str, postgres: EmbeddedPostgres
) -> None:
    before = tables(schema)
    migrations.downgrade("issuer", database, "base")
    assert tables(schema) == {"alembic_version"}
    migrations.upgrade("issuer", database, postgres.url("souche_issuer", DATABASE))
    assert tables(schema) == before


def test_the_expression_of_the_state_gives_each_state(schema: sa.Connection) -> None:
    facts = sa.text(f"""
        SELECT DISTINCT {STATE} AS state
        FROM unnest(ARRAY[NULL, 'redeemed', 'cancelled', 'expired']) AS ending,
             unnest(ARRAY[true, false]) AS blocked, unnest(ARRAY[true, false]) AS active
    """)
    assert set(schema.execute(facts).scalars()) == set(STATES)
