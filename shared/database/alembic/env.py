"""Alembic's entry: runs on the connection that `shared.database.migrations` hands over, inside the service's schema."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema=context.config.attributes["schema"])
with context.begin_transaction():
    context.run_migrations()
