"""Up to which cheque a programme is linked to its contract that went live."""

import sqlalchemy as sa
from alembic import op

revision = "0009_linking"
down_revision = "0008_audit"


def upgrade() -> None:
    op.add_column("contract", sa.Column("linking_after", sa.Uuid))


def downgrade() -> None:
    op.drop_column("contract", "linking_after")
