"""The migrations make what the models say, and take it back."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from demo.stack.embedded import EmbeddedPostgres
from services.issuer.cheques.models import STATE, STATES
from services.issuer.tables import Base
from shared.database import engine as db
from shared.database.migrations import runner as migrations

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


BEFORE = """
    INSERT INTO programme (id, code, name, face_value_cents, minimum_grant_cents, valid_months, grace_days, spendable,
                           services, territory)
    VALUES (gen_random_uuid(), 'pass', 'Pass', 1000, 5000, 12, 0, 'on_issue', '{}', '{}');
    INSERT INTO prescriber (id, source_id, name, commune, postcode, address, typologies, labels, updated_on)
    VALUES (gen_random_uuid(), 'ccas', 'CCAS', 'Agen', '47000', '', '{CCAS,ASSO}', '{}', '2025-01-01');
    INSERT INTO envelope (id, programme_id, funder, convention_reference, amount_cents, engaged_cents, starts_on,
                          ends_on, target_publics, priority)
    SELECT gen_random_uuid(), id, 'CAF', 'CAF-1', 10000, 4000, '2025-01-01', '2026-12-31', '{}', number
    FROM programme, generate_series(1, 2) number;
    INSERT INTO cheque_grant (id, prescriber_id, programme_id, target_public, amount_cents, reason, previous_grants,
                              granted_on, valid_until, presentable_until, created_at)
    SELECT gen_random_uuid(), prescriber.id, programme.id, 'seniors', 5000, '', 0, '2025-03-01', '2026-03-01',
           '2026-03-01', '2025-03-01T23:30:00Z' FROM prescriber, programme;
    INSERT INTO cheque (id, grant_id, envelope_id, value_cents, sealed_code, active, ending)
    SELECT gen_random_uuid(), cheque_grant.id, envelope.id, 1000, '', true, ending
    FROM cheque_grant, unnest(ARRAY['redeemed', 'expired', NULL, NULL, NULL]) ending, envelope WHERE priority = 1
"""


def test_conventions_charges_and_the_journal_are_made_of_what_was_there(
    database: str, postgres: EmbeddedPostgres
) -> None:
    role = postgres.url("souche_issuer", DATABASE)
    migrations.upgrade("issuer", database, role, "0001")
    engine = db.connect(database, "issuer", 1)
    with engine.begin() as connection:
        connection.execute(sa.text(BEFORE))
    engine.dispose()
    migrations.upgrade("issuer", database, role)
    with engine.connect() as connection:
        convention = """
            SELECT count(*), min(convention.funder), min(convention.reference)
            FROM convention JOIN envelope ON convention_id = convention.id
        """
        assert tuple(connection.execute(sa.text(convention)).one()) == (2, "CAF", "CAF-1")
        charge = "SELECT number, cents, prescriber_kind, why FROM charge"
        assert tuple(connection.execute(sa.text(charge)).one()) == (
            5,
            5000,
            "CCAS",
            "Charged before reasons were kept.",
        )
        journal = "SELECT kind, number, cents, target_public, booked_on::text FROM journal_entry ORDER BY id"
        booked = [tuple(row) for row in connection.execute(sa.text(journal))]
        assert booked[0] == ("engaged", 5, 5000, "seniors", "2025-03-02")
        assert sorted(row[:3] for row in booked[1:]) == [("expired", 1, 1000), ("used", 1, 1000)]
    engine.dispose()
    migrations.downgrade("issuer", database, "0001")
