"""Files of grants are known again, and prescribers keep all that their source says of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0006_imports"
down_revision = "0005_structures"


def upgrade() -> None:
    op.create_table(
        "grant_import",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.add_column("prescriber", sa.Column("details", pg.JSONB, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("prescriber", "details")
    op.drop_table("grant_import")
