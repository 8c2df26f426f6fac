"""The redeemer's tables: cheques and their rules, contracts, structures, affiliations, redemptions, attempts."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

from shared.database.migrations.versions import event_tables

revision = "0001"
down_revision = None

_STATE = """CASE WHEN ending IS NOT NULL THEN ending WHEN blocked THEN 'blocked'
                 WHEN active THEN 'spendable' ELSE 'pending' END"""


def upgrade() -> None:
    event_tables.create_event_tables(op)
    _create_cheques()
    _create_structures()
    _create_affiliations()
    _create_redemptions()


def downgrade() -> None:
    for table in (
        "attempt", "redemption", "presentation", "affiliation", "contract", "structure_import", "structure", "cheque",
        "spending_rules",
    ):  # fmt: skip
        op.drop_table(table)
    event_tables.drop_event_tables(op)


def _id(name: str = "id") -> sa.Column[UUID]:
    return sa.Column(name, sa.Uuid, primary_key=True)


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _texts(name: str) -> sa.Column[list[str]]:
    return sa.Column(name, pg.ARRAY(sa.Text), nullable=False)


def _instant(name: str, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _create_cheques() -> None:
    op.create_table(
        "spending_rules",
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        _text("programme"),
        _texts("services"),
        _texts("territory"),
        sa.UniqueConstraint("digest", name="spending_rules_digest_key"),
    )
    op.create_table(
        "cheque",
        _id(),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("rules_id", sa.Integer, sa.ForeignKey("spending_rules.id"), nullable=False),
        sa.Column("grant_id", sa.Uuid, nullable=False),
        sa.Column("value_cents", sa.Integer, nullable=False),
        sa.Column("granted_on", sa.Date, nullable=False),
        sa.Column("valid_until", sa.Date, nullable=False),
        sa.Column("presentable_until", sa.Date, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False, server_default=sa.false()),
        _text("ending", nullable=True),
        sa.Column("state", sa.Text, sa.Computed(_STATE, persisted=True), nullable=False),
        _instant("redeemed_at", nullable=True),
        sa.UniqueConstraint("digest", name="cheque_digest_key"),
        sa.CheckConstraint("value_cents > 0", name="cheque_value_check"),
        sa.CheckConstraint("ending IN ('redeemed', 'cancelled', 'expired')", name="cheque_ending_check"),
        sa.CheckConstraint(
            "(ending = 'redeemed') IS TRUE = (redeemed_at IS NOT NULL)", name="cheque_redeemed_at_check"
        ),
        postgresql_with={"fillfactor": "85"},
    )
    op.create_index("cheque_presentable_until_idx", "cheque", ["presentable_until"])


def _create_structures() -> None:
    op.create_table(
        "structure",
        _id(),
        _text("source_id"),
        _text("siret", nullable=True),
        _text("name"),
        _text("commune"),
        _text("postcode"),
        _text("insee_code", nullable=True),
        _text("address"),
        sa.Column("latitude", sa.Float),
        sa.Column("longitude", sa.Float),
        _texts("services"),
        _texts("publics"),
        _texts("typologies"),
        _texts("labels"),
        sa.Column("updated_on", sa.Date, nullable=False),
        _instant("suspended_at", nullable=True),
        _text("suspension_reason", nullable=True),
        sa.UniqueConstraint("source_id", name="structure_source_id_key"),
        sa.CheckConstraint("(suspended_at IS NULL) = (suspension_reason IS NULL)", name="structure_suspension_check"),
    )
    op.create_table(
        "structure_import",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def _create_affiliations() -> None:
    op.create_table(
        "contract",
        _id(),
        _text("code"),
        _text("operator"),
        _text("programme"),
        _text("state"),
        sa.Column("starts_on", sa.Date, nullable=False),
        sa.Column("ends_on", sa.Date),
    )
    op.create_table(
        "affiliation",
        _id(),
        sa.Column("structure_id", sa.Uuid, sa.ForeignKey("structure.id"), nullable=False),
        sa.Column("contract_id", sa.Uuid, sa.ForeignKey("contract.id"), nullable=False),
        sa.Column("starts_on", sa.Date, nullable=False),
        sa.Column("ends_on", sa.Date),
        sa.CheckConstraint("ends_on >= starts_on", name="affiliation_period_check"),
    )
    op.create_index("affiliation_structure_id_idx", "affiliation", ["structure_id"])


def _create_redemptions() -> None:
    op.create_table(
        "presentation",
        _id(),
        sa.Column("structure_id", sa.Uuid, nullable=False),
        _text("key"),
        sa.Column("request_digest", sa.LargeBinary, nullable=False),
        _text("service", nullable=True),
        _text("postcode", nullable=True),
        _instant("presented_at"),
        sa.UniqueConstraint("structure_id", "key", name="presentation_structure_id_key_key"),
    )
    op.create_table(
        "redemption",
        _id(),
        sa.Column("cheque_id", sa.Uuid, sa.ForeignKey("cheque.id"), nullable=False),
        sa.Column("presentation_id", sa.Uuid, nullable=False),
        sa.Column("structure_id", sa.Uuid, nullable=False),
        _text("programme"),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        _text("via"),
        sa.Column("contract_id", sa.Uuid),
        sa.Column("given_on", sa.Date, nullable=False),
        _instant("redeemed_at"),
        _text("state"),
        _text("refusal_reason", nullable=True),
        _text("payment_reference", nullable=True),
        sa.Column("paid_on", sa.Date),
        sa.Column("statement_id", sa.Uuid),
        _instant("reversed_at", nullable=True),
        _text("reversal_reason", nullable=True),
        sa.CheckConstraint("amount_cents > 0", name="redemption_amount_check"),
        sa.CheckConstraint("via IN ('till', 'operator')", name="redemption_via_check"),
        sa.CheckConstraint(
            "state IN ('due', 'confirmed', 'refused', 'paid', 'stranded')", name="redemption_state_check"
        ),
        sa.CheckConstraint("(reversed_at IS NULL) = (reversal_reason IS NULL)", name="redemption_reversal_check"),
    )
    live = sa.text("reversed_at IS NULL")
    op.create_index("redemption_live_idx", "redemption", ["cheque_id"], unique=True, postgresql_where=live)
    op.create_index("redemption_presentation_id_idx", "redemption", ["presentation_id"])
    op.create_index("redemption_structure_id_idx", "redemption", ["structure_id", "id"])
    op.create_table(
        "attempt",
        _id("structure_id"),
        _instant("minute"),
        sa.Column("failures", sa.Integer, nullable=False),
    )
