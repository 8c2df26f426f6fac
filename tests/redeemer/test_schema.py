"""The migration makes what the models say, and takes it back."""

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from demo.stack.embedded import EmbeddedPostgres
from services.redeemer.cheques.models import Cheque
from services.redeemer.tables import Base
from shared.database import engine as db
from shared.database.migrations import runner as migrations
from shared.eventlog.log import TABLES
from tests.harness import ServiceUnderTest


def test_the_migration_makes_the_tables_of_the_models(redeemer: ServiceUnderTest) -> None:
    shared_tables = set(TABLES.tables)

    def ours(obj: sa.schema.SchemaItem, name: str | None, kind: str, *_: object) -> bool:
        return not (kind == "table" and name in shared_tables)

    with redeemer.runtime.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_object": ours, "compare_type": True, "compare_server_default": False},
        )
        differences = [one for one in compare_metadata(context, Base.metadata) if "alembic_version" not in str(one)]
        checks = connection.exec_driver_sql(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'redeemer'::regnamespace"
        )
        made = set(checks.scalars())
    wanted = {
        constraint.name
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    assert differences == []
    assert wanted <= made


def test_redeeming_a_cheque_touches_no_index(redeemer: ServiceUnderTest) -> None:
    """Nothing of a cheque that changes is indexed, and its page has room: the update stays within the page."""
    indexed = {column.name for index in Cheque.__table__.indexes for column in index.columns}  # type: ignore[attr-defined]
    assert not indexed & {"active", "blocked", "ending", "state", "redeemed_at"}
    with redeemer.runtime.engine.connect() as connection:
        options = connection.exec_driver_sql("SELECT reloptions FROM pg_class WHERE oid = 'cheque'::regclass")
        assert options.scalar_one() == ["fillfactor=85"]


def test_the_migration_can_be_taken_back_and_made_again(postgres: EmbeddedPostgres) -> None:
    with sa.create_engine(postgres.url(), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE there_and_back")
    owner = postgres.url(database="there_and_back")
    role = postgres.url("souche_redeemer", "there_and_back")

    migrations.upgrade("redeemer", owner, role)
    migrations.downgrade("redeemer", owner, "base")
    engine = db.connect(owner, "redeemer", 1)
    assert sa.inspect(engine).get_table_names("redeemer") == ["alembic_version"]
    engine.dispose()
    migrations.upgrade("redeemer", owner, role)
