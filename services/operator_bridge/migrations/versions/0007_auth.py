"""Who is let in: programs with secrets, people's roles, tokens taken back."""

from alembic import op

from shared.database.migrations.versions import access_tables

revision = "0007_auth"
down_revision = "0006_leases"


def upgrade() -> None:
    access_tables.create_trust_tables(op)


def downgrade() -> None:
    access_tables.drop_trust_tables(op)
