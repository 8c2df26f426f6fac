"""Which worker sent an order, so that what a dead one left is seen at once."""

import sqlalchemy as sa
from alembic import op

revision = "0006_leases"
down_revision = "0005_switch_indexes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the lease to orders; one that is being sent now is given a lease that nobody holds."""
    op.add_column("operator_order", sa.Column("sent_by", sa.BigInteger))
    op.execute("UPDATE operator_order SET sent_by = 0 WHERE state = 'sent'")
    op.create_index(
        "operator_order_lease_idx", "operator_order", ["sent_by"], postgresql_where=sa.text("state = 'sent'")
    )


def downgrade() -> None:
    """Takes it away."""
    op.drop_index("operator_order_lease_idx", "operator_order")
    op.drop_column("operator_order", "sent_by")
