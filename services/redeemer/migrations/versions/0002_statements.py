"""Statements and their lines, which nobody can change, corrections, payments and payment terms."""

import sqlalchemy as sa
from alembic import op

revision = "0002_statements"
down_revision = "0001"

_FROZEN = ("statement", "statement_line", "redemption_correction")
_NOW = sa.func.now()
_NAME = "year || '-' || lpad(number::text, greatest(5, length(number::text)), '0')"


def upgrade() -> None:
    _create_statements()
    _create_corrections()
    _create_payments()
    op.add_column("redemption", sa.Column("payment_id", sa.Uuid))
    unstated = sa.text("statement_id IS NULL AND reversed_at IS NULL")
    op.create_index("redemption_unstated_idx", "redemption", ["structure_id"], postgresql_where=unstated)
    op.create_index("redemption_refused_idx", "redemption", ["id"], postgresql_where=sa.text("state = 'refused'"))
    op.execute("""
        CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '% is frozen', TG_TABLE_NAME; END $$
    """)
    for table in _FROZEN:
        op.execute(f"""
            CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()
        """)


def downgrade() -> None:
    op.drop_index("redemption_refused_idx", "redemption")
    op.drop_index("redemption_unstated_idx", "redemption")
    op.drop_column("redemption", "payment_id")
    for table in (
        "payment_term", "repeated_payment", "payment_import", "payment", "redemption_correction", "statement_month",
        "statement_line", "statement",
    ):  # fmt: skip
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_rewriting()")


def _create_statements() -> None:
    op.create_table(
        "statement",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, sa.Computed(_NAME, persisted=True), nullable=False),
        sa.Column("structure_id", sa.Uuid, sa.ForeignKey("structure.id"), nullable=False),
        sa.Column("month", sa.Date, nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_by", sa.Text, nullable=False),
        sa.Column("due_on", sa.Date, nullable=False),
        sa.Column("authority", sa.Text, nullable=False),
        sa.Column("structure_name", sa.Text, nullable=False),
        sa.Column("siret", sa.Text),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("postcode", sa.Text, nullable=False),
        sa.Column("commune", sa.Text, nullable=False),
        sa.Column("redemptions", sa.Integer, nullable=False),
        sa.Column("corrections", sa.Integer, nullable=False),
        sa.Column("due_cents", sa.BigInteger, nullable=False),
        sa.Column("confirmed_cents", sa.BigInteger, nullable=False),
        sa.Column("paid_cents", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("year", "number", name="statement_year_number_key"),
        sa.UniqueConstraint("name", name="statement_name_key"),
        sa.UniqueConstraint("structure_id", "month", name="statement_structure_id_month_key"),
        sa.CheckConstraint("number > 0", name="statement_number_check"),
        sa.CheckConstraint("date_trunc('month', month) = month", name="statement_month_check"),
    )
    op.create_table(
        "statement_line",
        sa.Column("statement_id", sa.Uuid, sa.ForeignKey("statement.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("redemption_id", sa.Uuid, nullable=False),
        sa.Column("cheque_id", sa.Uuid, nullable=False),
        sa.Column("programme", sa.Text, nullable=False),
        sa.Column("presented_on", sa.Date, nullable=False),
        sa.Column("given_on", sa.Date, nullable=False),
        sa.Column("due_cents", sa.Integer, nullable=False),
        sa.Column("confirmed_cents", sa.Integer, nullable=False),
        sa.Column("paid_cents", sa.Integer, nullable=False),
        sa.Column("corrects", sa.Uuid, sa.ForeignKey("statement.id")),
        sa.Column("reason", sa.Text),
        sa.CheckConstraint("kind IN ('redemption', 'correction')", name="statement_line_kind_check"),
        sa.CheckConstraint("due_cents > 0 OR (kind = 'correction' AND due_cents < 0)", name="statement_line_due_check"),
        sa.CheckConstraint(
            "(kind = 'correction') = (corrects IS NOT NULL AND reason IS NOT NULL)",
            name="statement_line_correction_check",
        ),
        sa.CheckConstraint(
            "confirmed_cents BETWEEN 0 AND abs(due_cents) AND paid_cents BETWEEN 0 AND confirmed_cents",
            name="statement_line_columns_check",
        ),
    )
    once, corrected = sa.text("corrects IS NULL"), sa.text("corrects IS NOT NULL")
    line = "statement_line"
    op.create_index("statement_line_once_idx", line, ["redemption_id"], unique=True, postgresql_where=once)
    op.create_index("statement_line_corrected_idx", line, ["redemption_id"], postgresql_where=corrected)
    op.create_table(
        "statement_month",
        sa.Column("month", sa.Date, primary_key=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
    )


def _create_corrections() -> None:
    op.create_table(
        "redemption_correction",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("redemption_id", sa.Uuid, sa.ForeignKey("redemption.id"), nullable=False),
        sa.Column("owed_cents", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, server_default=_NOW),
        sa.CheckConstraint("owed_cents >= 0", name="redemption_correction_owed_check"),
    )
    op.create_index("redemption_correction_redemption_id_idx", "redemption_correction", ["redemption_id", "id"])


def _create_payments() -> None:
    op.create_table(
        "payment",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("statement_id", sa.Uuid, sa.ForeignKey("statement.id"), nullable=False),
        sa.Column("amount_cents", sa.BigInteger, nullable=False),
        sa.Column("paid_on", sa.Date, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("file_digest", sa.Text, nullable=False),
        sa.Column("typed_by", sa.Text, nullable=False),
        sa.Column("typed_at", sa.DateTime(timezone=True), nullable=False, server_default=_NOW),
        sa.UniqueConstraint("statement_id", "paid_on", "amount_cents", "reference", name="payment_once_key"),
        sa.CheckConstraint("amount_cents > 0", name="payment_amount_check"),
    )
    op.create_table(
        "payment_import",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False, server_default=_NOW),
    )
    op.create_table(
        "repeated_payment",
        sa.Column("redemption_id", sa.Uuid, sa.ForeignKey("redemption.id"), primary_key=True),
        sa.Column("payment_reference", sa.Text, primary_key=True),
        sa.Column("contract_id", sa.Uuid),
        sa.Column("paid_on", sa.Date, nullable=False),
        sa.Column("noticed_at", sa.DateTime(timezone=True), nullable=False, server_default=_NOW),
    )
    op.create_table(
        "payment_term",
        sa.Column("programme", sa.Text, primary_key=True),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, server_default=_NOW),
        sa.CheckConstraint("days BETWEEN 1 AND 365", name="payment_term_days_check"),
    )
