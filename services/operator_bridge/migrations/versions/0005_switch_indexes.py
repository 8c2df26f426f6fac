"""What a switch of a whole year's cheques looks up cheque by cheque, and redemption by redemption."""

import sqlalchemy as sa
from alembic import op

revision = "0005_switch_indexes"
down_revision = "0004_switch"


def upgrade() -> None:
    # Which cheques an operator was told to give up: few orders, asked for once per cheque that another has.
    op.create_index(
        "operator_order_cancel_idx", "operator_order", ["cheque_id", "contract_id"],
        postgresql_where=sa.text("kind = 'cancel'"),
    )  # fmt: skip
    # Whether a redemption was declared: asked for once per redemption that an operator which failed has not paid.
    op.create_index(
        "operator_order_redemption_idx", "operator_order", ["redemption_id"],
        postgresql_where=sa.text("redemption_id IS NOT NULL"),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("operator_order_redemption_idx", "operator_order")
    op.drop_index("operator_order_cancel_idx", "operator_order")
