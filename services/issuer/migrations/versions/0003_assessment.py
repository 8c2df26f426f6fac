"""Rules in versions, what a grant was held against, and programmes whose grants are one cheque.

The rule of a programme becomes its version 1. Grants made before name no version: the rule that they were held against
was not kept with them, though it never changed until now.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0003_assessment"
down_revision = "0002_conventions"


def upgrade() -> None:
    single = sa.Column("single_cheque", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("programme", single)
    op.add_column("programme", sa.Column("assessment_version", sa.Integer))
    _create_rules()
    for column in (
        sa.Column("rule_version", sa.Integer),
        sa.Column("exception_reason", sa.Text),
        sa.Column("exception_by", sa.Text),
    ):
        op.add_column("cheque_grant", column)
    op.create_check_constraint(
        "cheque_grant_exception_check", "cheque_grant", "num_nonnulls(exception_reason, exception_by) <> 1"
    )
    op.create_foreign_key(
        "cheque_grant_programme_id_rule_version_fkey",
        "cheque_grant",
        "assessment_rule",
        ["programme_id", "rule_version"],
        ["programme_id", "version"],
    )


def downgrade() -> None:
    op.drop_constraint("cheque_grant_programme_id_rule_version_fkey", "cheque_grant")
    op.drop_constraint("cheque_grant_exception_check", "cheque_grant")
    for column in ("exception_by", "exception_reason", "rule_version"):
        op.drop_column("cheque_grant", column)
    op.drop_table("assessment_rule")
    op.drop_column("programme", "assessment_version")
    op.drop_column("programme", "single_cheque")


def _create_rules() -> None:
    op.create_table(
        "assessment_rule",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("programme_id", sa.Uuid, sa.ForeignKey("programme.id"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("assessment", pg.JSONB),
        sa.Column("reason", sa.Text),
        sa.Column("declared_by", sa.Text, nullable=False),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("programme_id", "version", name="assessment_rule_programme_id_version_key"),
        sa.CheckConstraint("version > 0", name="assessment_rule_version_check"),
    )
    # The programme's own identifier is as good as a new one, and keeps the versions in their order.
    op.execute("""
        INSERT INTO assessment_rule (id, programme_id, version, assessment, declared_by, declared_at)
        SELECT id, id, 1, assessment, 'migration', created_at FROM programme WHERE assessment IS NOT NULL
    """)
    op.execute("UPDATE programme SET assessment_version = 1 WHERE assessment IS NOT NULL")
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON assessment_rule
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()
    """)
