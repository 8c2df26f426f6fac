"""Grants are found by the number of their booklet, and notices by what they are about."""

import sqlalchemy as sa
from alembic import op

revision = "0012_lookups"
down_revision = "0011_expiring"


def upgrade() -> None:
    op.create_index("cheque_grant_number_idx", "cheque_grant", [sa.text("right(CAST(id AS text), 8)"), "id"])
    op.create_index("notice_subject_id_idx", "notice", ["subject_id", "id"])


def downgrade() -> None:
    op.drop_index("notice_subject_id_idx", "notice")
    op.drop_index("cheque_grant_number_idx", "cheque_grant")
