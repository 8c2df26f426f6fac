"""Who is let in: programs with secrets, people's roles, tokens taken back."""

from alembic import op

from shared.database import migrations

revision = "0005_auth"
down_revision = "0004_guessing"


def upgrade() -> None:
    migrations.create_trust_tables(op)


def downgrade() -> None:
    migrations.drop_trust_tables(op)
