"""Parked events keep their request's id; old answers and the memory of old events may go."""

from alembic import op

from shared.database.migrations.versions import retention

revision = "0010_retention"
down_revision = "0009_order"


def upgrade() -> None:
    retention.add(op)


def downgrade() -> None:
    retention.remove(op)
