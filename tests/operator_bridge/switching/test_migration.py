"""The migration of switches makes what the models say, and takes it back."""

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.operator_bridge.register.models import Affiliation, Base
from services.operator_bridge.register.models_switch import Claim, Switch, SwitchStep
from tests.harness import ServiceUnderTest

MADE = {model.__tablename__ for model in (Affiliation, Claim, Switch, SwitchStep)}


def test_the_migration_makes_the_tables_of_the_models(bridge: ServiceUnderTest) -> None:
    def ours(obj: sa.schema.SchemaItem, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or name in MADE

    with bridge.runtime.engine.connect() as connection:
        options = {"include_object": ours, "compare_type": True, "compare_server_default": False}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
