"""Migrations: the runner, the entry of Alembic, and what past migrations call."""
