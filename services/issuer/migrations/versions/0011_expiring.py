"""Grants are gone through by their last day, some at a time, however many end on one day."""

from alembic import op

revision = "0011_expiring"
down_revision = "0010_unpaid"


def upgrade() -> None:
    op.drop_index("cheque_grant_valid_until_idx", "cheque_grant")
    op.create_index("cheque_grant_valid_until_idx", "cheque_grant", ["valid_until", "id"])


def downgrade() -> None:
    op.drop_index("cheque_grant_valid_until_idx", "cheque_grant")
    op.create_index("cheque_grant_valid_until_idx", "cheque_grant", ["valid_until"])
