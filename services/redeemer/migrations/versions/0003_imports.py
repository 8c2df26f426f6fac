"""Structures keep all that their source says of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0003_imports"
down_revision = "0002_statements"


def upgrade() -> None:
    op.add_column("structure", sa.Column("details", pg.JSONB, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("structure", "details")
