"""Planned stops of an operator, and the circuit that opens when it fails again and again."""

import sqlalchemy as sa
from alembic import op

revision = "0002_hold"
down_revision = "0001_operator_bridge"

# Additive and without defaults: the code that is running does not see them.
_COLUMNS = (
    ("held_at", sa.DateTime(timezone=True)),
    ("held_reason", sa.Text()),
    ("circuit_opened_at", sa.DateTime(timezone=True)),
    ("last_failure", sa.Text()),
)


def upgrade() -> None:
    for name, kind in _COLUMNS:
        op.add_column("contract", sa.Column(name, kind))
    # A planned stop is made and ended by set, whatever else there is; what it holds is found without the rest.
    op.create_index(
        "operator_order_held_idx", "operator_order", ["contract_id"], postgresql_where=sa.text("state = 'held'")
    )


def downgrade() -> None:
    op.drop_index("operator_order_held_idx", "operator_order")
    for name, _ in reversed(_COLUMNS):
        op.drop_column("contract", name)
