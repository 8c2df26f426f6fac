"""Who tries codes in vain, and is locked out; the cheques that a structure may take are found by programme."""

import sqlalchemy as sa
from alembic import op

revision = "0004_guessing"
down_revision = "0003_imports"


def upgrade() -> None:
    op.create_table(
        "guessing",
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("guesses", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("clear_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lockouts", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("strikes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("scope IN ('structure', 'address', 'everybody')", name="guessing_scope_check"),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index("spending_rules_programme_idx", "spending_rules", ["programme"])


def downgrade() -> None:
    op.drop_index("spending_rules_programme_idx", "spending_rules")
    op.drop_table("guessing")
