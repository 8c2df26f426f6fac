"""Typed payments can be withdrawn and set off, refused redemptions are annexed to statements."""

import sqlalchemy as sa
from alembic import op

revision = "0007_withdrawals"
down_revision = "0006_audit"

_KIND = """
    CASE kind WHEN 'payment' THEN amount_cents > 0 AND withdraws IS NULL
              WHEN 'withdrawal' THEN amount_cents < 0 AND withdraws IS NOT NULL AND reason IS NOT NULL
              WHEN 'set_off' THEN amount_cents = 0 AND withdraws IS NULL
              ELSE false END
"""


def upgrade() -> None:
    op.add_column("payment", sa.Column("kind", sa.Text, nullable=False, server_default="payment"))
    op.add_column("payment", sa.Column("withdraws", sa.Uuid, sa.ForeignKey("payment.id")))
    op.add_column("payment", sa.Column("reason", sa.Text))
    op.drop_constraint("payment_amount_check", "payment", type_="check")
    op.create_check_constraint("payment_kind_check", "payment", _KIND)
    op.create_unique_constraint("payment_withdraws_key", "payment", ["withdraws"])
    op.add_column("redemption", sa.Column("unpaid_state", sa.Text))
    stated = sa.text("statement_id IS NOT NULL")
    op.create_index("redemption_statement_id_idx", "redemption", ["statement_id"], postgresql_where=stated)
    op.create_table(
        "statement_refusal",
        sa.Column("redemption_id", sa.Uuid, primary_key=True),
        sa.Column("statement_id", sa.Uuid, sa.ForeignKey("statement.id"), nullable=False),
        sa.Column("programme", sa.Text, nullable=False),
        sa.Column("presented_on", sa.Date, nullable=False),
        sa.Column("given_on", sa.Date, nullable=False),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("statement_refusal_statement_id_idx", "statement_refusal", ["statement_id"])
    op.execute("""
        CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON statement_refusal
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()
    """)


def downgrade() -> None:
    """What was withdrawn and set off goes, with what it withdrew: so what is left is what counts."""
    op.drop_table("statement_refusal")
    op.drop_index("redemption_statement_id_idx", "redemption")
    op.drop_column("redemption", "unpaid_state")
    op.drop_constraint("payment_withdraws_key", "payment", type_="unique")
    op.drop_constraint("payment_kind_check", "payment", type_="check")
    op.execute("""
        UPDATE redemption SET payment_id = NULL
        WHERE payment_id IN (SELECT id FROM payment WHERE kind = 'set_off');
        CREATE TEMPORARY TABLE gone ON COMMIT DROP AS
            SELECT id FROM payment WHERE kind <> 'payment'
            UNION SELECT withdraws FROM payment WHERE kind = 'withdrawal';
        DELETE FROM payment WHERE withdraws IN (SELECT id FROM gone);
        DELETE FROM payment WHERE id IN (SELECT id FROM gone)
    """)
    op.drop_column("payment", "reason")
    op.drop_column("payment", "withdraws")
    op.drop_column("payment", "kind")
    op.create_check_constraint("payment_amount_check", "payment", "amount_cents > 0")
