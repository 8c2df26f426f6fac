"""People can be found, told what is held of them, and forgotten: as they ask, or when they were kept long enough."""

import sqlalchemy as sa
from alembic import op

revision = "0007_people"
down_revision = "0006_imports"


def upgrade() -> None:
    op.add_column("programme", sa.Column("retention_months", sa.Integer, nullable=False, server_default="24"))
    op.create_check_constraint("programme_retention_check", "programme", "retention_months BETWEEN 1 AND 120")
    op.add_column("beneficiary", sa.Column("digest_key", sa.Text))
    _create_erasures()
    # Grants that still say whose they are, the oldest first: the daily look reads those whose time has come.
    op.create_index(
        "cheque_grant_kept_idx", "cheque_grant", ["created_at"], postgresql_where=sa.text("beneficiary_id IS NOT NULL")
    )
    # What was asked for a person's cheques is found without reading all that was ever asked.
    op.create_index("cancellation_cheque_cheque_id_idx", "cancellation_cheque", ["cheque_id"])
    # Answers that are still kept, to be emptied in their turn.
    op.create_index(
        "idempotent_answer_kept_idx",
        "idempotent_answer",
        ["created_at"],
        postgresql_where=sa.text("octet_length(body) > 0"),
    )


def downgrade() -> None:
    op.drop_index("idempotent_answer_kept_idx", "idempotent_answer")
    op.drop_index("cancellation_cheque_cheque_id_idx", "cancellation_cheque")
    op.drop_index("cheque_grant_kept_idx", "cheque_grant")
    op.drop_table("erasure")
    op.drop_column("beneficiary", "digest_key")
    op.drop_column("programme", "retention_months")


def _create_erasures() -> None:
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("ground", sa.Text, nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("people", sa.Integer, nullable=False),
        sa.Column("grants", sa.Integer, nullable=False),
        sa.CheckConstraint("ground IN ('request', 'retention')", name="erasure_ground_check"),
    )
