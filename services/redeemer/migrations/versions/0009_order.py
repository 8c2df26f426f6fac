"""Corrections have the order in which they were made; payments are found by reference; expiry knows how far it came."""

import sqlalchemy as sa
from alembic import op

revision = "0009_order"
down_revision = "0008_names"

_CORRECTION, _REDEMPTION = "redemption_correction", "redemption"
_INDEX = "redemption_correction_redemption_id_idx"


def upgrade() -> None:
    # Numbered as they lie: nothing is ever changed or deleted here, so that is the order in which they came.
    op.add_column(_CORRECTION, sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), nullable=False))
    op.drop_index(_INDEX, _CORRECTION)
    op.create_index(_INDEX, _CORRECTION, ["redemption_id", "sequence"])
    referred = sa.text("payment_reference IS NOT NULL")
    op.create_index("redemption_payment_reference_idx", _REDEMPTION, ["payment_reference"], postgresql_where=referred)
    op.create_table(
        "expiry",
        sa.Column("everything", sa.Boolean, primary_key=True),
        sa.Column("done_before", sa.Date, nullable=False),
        sa.CheckConstraint("everything", name="expiry_everything_check"),
    )


def downgrade() -> None:
    op.drop_table("expiry")
    op.drop_index("redemption_payment_reference_idx", _REDEMPTION)
    op.drop_index(_INDEX, _CORRECTION)
    op.create_index(_INDEX, _CORRECTION, ["redemption_id", "id"])
    op.drop_column(_CORRECTION, "sequence")
