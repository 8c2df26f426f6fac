"""What becomes of cheques on the way: notices, replacements, lots with their suspension and statement."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0004_life"
down_revision = "0003_assessment"

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_notices()
    _create_replacements()
    _create_lots()
    # By the day on which they end: a day's warnings look at the grants of some weeks, never at all of them.
    op.create_index("cheque_grant_valid_until_idx", "cheque_grant", ["valid_until"])


def downgrade() -> None:
    op.drop_index("cheque_grant_valid_until_idx", "cheque_grant")
    op.drop_column("cheque_grant", "lot_id")
    for table in ("lot_statement", "suspended_cheque", "lot", "replaced_cheque", "replacement", "notice"):
        op.drop_table(table)


def _create_notices() -> None:
    op.create_table(
        "notice",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Uuid),
        sa.Column("prescriber_id", sa.Uuid, sa.ForeignKey("prescriber.id")),
        sa.Column("body", pg.JSONB, nullable=False),
        sa.Column("posted_at", _INSTANT, nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("kind", "key", name="notice_kind_key_key"),
    )
    op.create_index("notice_prescriber_id_idx", "notice", ["prescriber_id", "id"])


def _create_replacements() -> None:
    op.create_table(
        "replacement",
        sa.Column("cancellation_id", sa.Uuid, sa.ForeignKey("cancellation.id"), primary_key=True),
        sa.Column("cause", sa.Text, nullable=False),
        sa.CheckConstraint("cause IN ('lost', 'stolen', 'damaged')", name="replacement_cause_check"),
    )
    op.create_table(
        "replaced_cheque",
        sa.Column("cancellation_id", sa.Uuid, sa.ForeignKey("replacement.cancellation_id"), primary_key=True),
        sa.Column("old_cheque_id", sa.Uuid, sa.ForeignKey("cheque.id"), primary_key=True),
        sa.Column("new_cheque_id", sa.Uuid, nullable=False),
        sa.Column("sealed_code", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("issued_at", _INSTANT),
        sa.UniqueConstraint("new_cheque_id", name="replaced_cheque_new_cheque_id_key"),
    )
    op.create_index(
        "replaced_cheque_once_idx",
        "replaced_cheque",
        ["old_cheque_id"],
        unique=True,
        postgresql_where=sa.text("issued_at IS NOT NULL"),
    )


def _create_lots() -> None:
    op.create_table(
        "lot",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("programme_id", sa.Uuid, sa.ForeignKey("programme.id"), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False, server_default=sa.func.now()),
        sa.Column("suspended_at", _INSTANT),
        sa.Column("suspended_by", sa.Text),
        sa.Column("suspension_reason", sa.Text),
        sa.Column("closed_at", _INSTANT),
        sa.UniqueConstraint("code", name="lot_code_key"),
    )
    op.create_table(
        "suspended_cheque",
        sa.Column("cheque_id", sa.Uuid, sa.ForeignKey("cheque.id"), primary_key=True),
        sa.Column("lot_id", sa.Uuid, sa.ForeignKey("lot.id"), nullable=False),
    )
    op.create_index("suspended_cheque_lot_id_idx", "suspended_cheque", ["lot_id"])
    op.create_table(
        "lot_statement",
        sa.Column("lot_id", sa.Uuid, sa.ForeignKey("lot.id"), primary_key=True),
        sa.Column("figures", pg.JSONB, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("agreed_by", sa.Text, nullable=False),
        sa.Column("agreed_at", _INSTANT, nullable=False),
    )
    op.add_column(
        "cheque_grant", sa.Column("lot_id", sa.Uuid, sa.ForeignKey("lot.id", name="cheque_grant_lot_id_fkey"))
    )
    op.create_index(
        "cheque_grant_lot_id_idx", "cheque_grant", ["lot_id"], postgresql_where=sa.text("lot_id IS NOT NULL")
    )
