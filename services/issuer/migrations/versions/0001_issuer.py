"""The issuer's tables: programmes, envelopes, prescribers, beneficiaries, grants, cheques, cancellations."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

from shared.database.migrations.versions import event_tables

revision = "0001"
down_revision = None

_STATE = """CASE WHEN ending IS NOT NULL THEN ending WHEN blocked THEN 'blocked'
                 WHEN active THEN 'spendable' ELSE 'issued' END"""


def upgrade() -> None:
    event_tables.create_event_tables(op)
    _create_programmes()
    _create_people()
    _create_cheques()
    _create_cancellations()


def downgrade() -> None:
    for table in (
        "cancellation_cheque", "cancellation", "cheque", "cheque_grant", "beneficiary", "prescriber_import",
        "prescriber", "envelope", "programme",
    ):  # fmt: skip
        op.drop_table(table)
    event_tables.drop_event_tables(op)


def _texts(name: str) -> sa.Column[list[str]]:
    return sa.Column(name, pg.ARRAY(sa.Text), nullable=False)


def _instant(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _create_programmes() -> None:
    op.create_table(
        "programme",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("face_value_cents", sa.BigInteger, nullable=False),
        sa.Column("minimum_grant_cents", sa.BigInteger, nullable=False),
        sa.Column("valid_months", sa.Integer),
        sa.Column("valid_until", sa.Date),
        sa.Column("grace_days", sa.Integer, nullable=False),
        sa.Column("spendable", sa.Text, nullable=False),
        _texts("services"),
        _texts("territory"),
        sa.Column("assessment", pg.JSONB),
        _instant("created_at"),
        sa.UniqueConstraint("code", name="programme_code_key"),
        sa.CheckConstraint("face_value_cents > 0", name="programme_face_value_check"),
        sa.CheckConstraint(
            "minimum_grant_cents > 0 AND minimum_grant_cents % face_value_cents = 0", name="programme_minimum_check"
        ),
        sa.CheckConstraint("num_nonnulls(valid_months, valid_until) = 1", name="programme_validity_check"),
        sa.CheckConstraint("grace_days >= 0", name="programme_grace_check"),
        sa.CheckConstraint("spendable IN ('on_issue', 'on_registration')", name="programme_spendable_check"),
    )
    op.create_table(
        "envelope",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("programme_id", sa.Uuid, sa.ForeignKey("programme.id"), nullable=False),
        sa.Column("funder", sa.Text, nullable=False),
        sa.Column("convention_reference", sa.Text, nullable=False),
        sa.Column("amount_cents", sa.BigInteger, nullable=False),
        sa.Column("engaged_cents", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("starts_on", sa.Date, nullable=False),
        sa.Column("ends_on", sa.Date, nullable=False),
        _texts("target_publics"),
        sa.Column("priority", sa.Integer, nullable=False),
        _instant("created_at"),
        sa.CheckConstraint("amount_cents > 0", name="envelope_amount_check"),
        sa.CheckConstraint("engaged_cents BETWEEN 0 AND amount_cents", name="envelope_engaged_check"),
        sa.CheckConstraint("starts_on <= ends_on", name="envelope_period_check"),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index("envelope_programme_id_idx", "envelope", ["programme_id"])


def _create_people() -> None:
    op.create_table(
        "prescriber",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("source_id", sa.Text, nullable=False),
        sa.Column("siret", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("commune", sa.Text, nullable=False),
        sa.Column("postcode", sa.Text, nullable=False),
        sa.Column("insee_code", sa.Text),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("latitude", sa.Float),
        sa.Column("longitude", sa.Float),
        _texts("typologies"),
        _texts("labels"),
        sa.Column("updated_on", sa.Date, nullable=False),
        sa.UniqueConstraint("source_id", name="prescriber_source_id_key"),
    )
    op.create_table("prescriber_import", sa.Column("digest", sa.Text, primary_key=True), _instant("imported_at"))
    op.create_table(
        "beneficiary",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("sealed_identity", sa.LargeBinary, nullable=False),
        _instant("last_granted_at"),
        sa.UniqueConstraint("digest", name="beneficiary_digest_key"),
    )


def _create_cheques() -> None:
    op.create_table(
        "cheque_grant",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("prescriber_id", sa.Uuid, sa.ForeignKey("prescriber.id"), nullable=False),
        sa.Column("programme_id", sa.Uuid, sa.ForeignKey("programme.id"), nullable=False),
        sa.Column("beneficiary_id", sa.Uuid, sa.ForeignKey("beneficiary.id", ondelete="SET NULL")),
        sa.Column("reference", sa.Text),
        sa.Column("target_public", sa.Text),
        sa.Column("amount_cents", sa.BigInteger, nullable=False),
        sa.Column("points", sa.Integer),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("previous_grants", sa.Integer, nullable=False),
        sa.Column("granted_on", sa.Date, nullable=False),
        sa.Column("valid_until", sa.Date, nullable=False),
        sa.Column("presentable_until", sa.Date, nullable=False),
        _instant("created_at"),
        sa.UniqueConstraint("prescriber_id", "reference", name="cheque_grant_once_key"),
        sa.CheckConstraint("amount_cents > 0", name="cheque_grant_amount_check"),
        sa.CheckConstraint(
            "granted_on <= valid_until AND valid_until <= presentable_until", name="cheque_grant_validity_check"
        ),
    )
    op.create_index("cheque_grant_beneficiary_id_idx", "cheque_grant", ["beneficiary_id"])
    op.create_table(
        "cheque",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("grant_id", sa.Uuid, sa.ForeignKey("cheque_grant.id"), nullable=False),
        sa.Column("envelope_id", sa.Uuid, sa.ForeignKey("envelope.id"), nullable=False),
        sa.Column("value_cents", sa.BigInteger, nullable=False),
        sa.Column("sealed_code", sa.LargeBinary, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("ending", sa.Text),
        sa.Column("state", sa.Text, sa.Computed(_STATE, persisted=True), nullable=False),
        sa.CheckConstraint("value_cents > 0", name="cheque_value_check"),
        sa.CheckConstraint("ending IN ('redeemed', 'cancelled', 'expired')", name="cheque_ending_check"),
        postgresql_with={"fillfactor": "85"},
    )
    op.create_index("cheque_grant_id_idx", "cheque", ["grant_id"])


def _create_cancellations() -> None:
    op.create_table(
        "cancellation",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("requested_by", sa.Text, nullable=False),
        _instant("requested_at"),
    )
    op.create_table(
        "cancellation_cheque",
        sa.Column("cancellation_id", sa.Uuid, sa.ForeignKey("cancellation.id"), primary_key=True),
        sa.Column("cheque_id", sa.Uuid, sa.ForeignKey("cheque.id"), primary_key=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.CheckConstraint(
            "outcome IN ('requested', 'cancelled', 'refused')", name="cancellation_cheque_outcome_check"
        ),
    )
    op.create_index(
        "cancellation_cheque_open_idx",
        "cancellation_cheque",
        ["cheque_id"],
        unique=True,
        postgresql_where=sa.text("outcome = 'requested'"),
    )
