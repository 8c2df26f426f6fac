"""What a service's role may do in the database, and what it may not."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from demo.stack.embedded import EmbeddedPostgres
from shared.database import engine as db
from shared.database.migrations import runner as migrations
from shared.settings.settings import SERVICES

OTHERS = [(service, other) for service in SERVICES for other in SERVICES if service != other]


@pytest.fixture
def engine(postgres: EmbeddedPostgres, migrated: Callable[[str], None]) -> Callable[[str], sa.Engine]:
    """Connects as a service does, all three schemas being there."""
    for service in SERVICES:
        migrated(service)
    return lambda service: db.connect(postgres.url(f"souche_{service}"), service, 1)


@pytest.mark.parametrize(("service", "other"), OTHERS)
def test_a_service_cannot_read_anothers_tables(service: str, other: str, engine: Callable[[str], sa.Engine]) -> None:
    with engine(service).connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.exec_driver_sql(f"SELECT * FROM {other}.event")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM event",
        "UPDATE event SET body = '{}'",
        "TRUNCATE event",
        "DROP TABLE event",
        "CREATE TABLE mine (id int)",
        "UPDATE alembic_version SET version_num = 'x'",
    ],
)
def test_a_service_cannot_rewrite_its_log_or_its_schema(
    service: str, statement: str, engine: Callable[[str], sa.Engine]
) -> None:
    with (
        engine(service).connect() as connection,
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
    ):
        connection.exec_driver_sql(statement)


@pytest.mark.parametrize("service", SERVICES)
def test_every_history_goes_back_to_nothing_and_up_again(service: str, postgres: EmbeddedPostgres) -> None:
    database = f"history_{service}"
    with sa.create_engine(postgres.url(), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {database}")
    owner_url, own_url = postgres.url("souche", database), postgres.url(f"souche_{service}", database)
    for _ in range(2):
        migrations.upgrade(service, owner_url, own_url)
        assert tables(owner_url, service) > {"event", "cursor", "alembic_version"}
        migrations.downgrade(service, owner_url, "base")
        assert tables(owner_url, service) == {"alembic_version"}


def tables(url: str, schema: str) -> set[str]:
    engine = db.connect(url, schema, 1)
    try:
        return set(sa.inspect(engine).get_table_names(schema))
    finally:
        engine.dispose()


def test_a_role_is_made_with_its_password_whatever_characters_it_has(postgres: EmbeddedPostgres) -> None:
    password = 'it\'s 100% \\ "quoted": $1'
    with sa.create_engine(postgres.url(), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE passwords")
    own_url = sa.make_url(postgres.url("o'hara", "passwords")).set(password=password)
    migrations.upgrade("issuer", postgres.url("souche", "passwords"), own_url.render_as_string(hide_password=False))
    with sa.create_engine(postgres.url()).connect() as connection:
        stored = connection.exec_driver_sql("SELECT rolpassword FROM pg_authid WHERE rolname = $$o'hara$$").scalar_one()
    assert stored.startswith("SCRAM-SHA-256$")
