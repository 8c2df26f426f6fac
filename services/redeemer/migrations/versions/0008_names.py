"""Statements have the names of programmes; the counts go that nothing reads since `guessing` counts who guesses."""

import sqlalchemy as sa
from alembic import op

revision = "0008_names"
down_revision = "0007_withdrawals"


def upgrade() -> None:
    op.create_table(
        "programme",
        sa.Column("code", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
    )
    op.add_column("statement_line", sa.Column("programme_name", sa.Text))
    op.drop_table("attempt")


def downgrade() -> None:
    op.create_table(
        "attempt",
        sa.Column("structure_id", sa.Uuid, primary_key=True),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
    )
    op.drop_column("statement_line", "programme_name")
    op.drop_table("programme")
