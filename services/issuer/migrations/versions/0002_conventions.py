"""Conventions and what they pay for: charges with their reasons, movements of envelopes, the journal, redemptions.

What was charged before has no reason on record. What had become of cheques before is booked on the day of the
migration, as that is when this journal learns of it; the day that it happened is not known here either.
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0002_conventions"
down_revision = "0001"

_APPEND_ONLY = ("convention_amendment", "envelope_movement", "journal_entry")

_FILL = (
    # uuidv7() came with PostgreSQL 18: the oldest envelope's identifier is as good and keeps the order.
    """
    INSERT INTO convention (id, funder, reference, target_publics, territory, pays_at_most_bp, reserved_publics,
                            reserved_bp, created_at)
    SELECT DISTINCT ON (funder, convention_reference) id, funder, convention_reference, '{}', '{}', 10000, '{}', 0,
           created_at
    FROM envelope ORDER BY funder, convention_reference, id
    """,
    """
    UPDATE envelope SET convention_id = convention.id FROM convention
    WHERE convention.funder = envelope.funder AND convention.reference = envelope.convention_reference
    """,
    """
    INSERT INTO envelope_movement (id, envelope_id, kind, before_cents, after_cents, reason, made_by, made_on, made_at)
    SELECT id, id, 'opened', 0, amount_cents, 'Opened before movements were kept.', 'migration',
           (created_at AT TIME ZONE 'Europe/Paris')::date, created_at
    FROM envelope
    """,
    """
    INSERT INTO convention_amendment (id, convention_id, reason, made_by, made_on, made_at)
    SELECT id, id, 'Agreed before amendments were kept.', 'migration', (created_at AT TIME ZONE 'Europe/Paris')::date,
           created_at
    FROM convention
    """,
    """
    INSERT INTO charge (grant_id, envelope_id, number, cents, why, reserved, prescriber_kind)
    SELECT cheque.grant_id, cheque.envelope_id, count(*), sum(cheque.value_cents),
           'Charged before reasons were kept.', false, min(prescriber.typologies[1])
    FROM cheque JOIN cheque_grant ON cheque_grant.id = cheque.grant_id
    JOIN prescriber ON prescriber.id = cheque_grant.prescriber_id
    GROUP BY cheque.grant_id, cheque.envelope_id
    """,
    """
    INSERT INTO journal_entry (booked_on, occurred_on, kind, envelope_id, target_public, prescriber_kind, number, cents)
    SELECT (cheque_grant.created_at AT TIME ZONE 'Europe/Paris')::date, cheque_grant.granted_on, 'engaged',
           charge.envelope_id, cheque_grant.target_public, charge.prescriber_kind, sum(charge.number), sum(charge.cents)
    FROM charge JOIN cheque_grant ON cheque_grant.id = charge.grant_id GROUP BY 1, 2, 4, 5, 6
    """,
    """
    INSERT INTO journal_entry (booked_on, occurred_on, kind, envelope_id, target_public, prescriber_kind, number, cents)
    SELECT today.day, today.day, CASE cheque.ending WHEN 'redeemed' THEN 'used' ELSE cheque.ending END,
           charge.envelope_id, cheque_grant.target_public, charge.prescriber_kind, count(*), sum(cheque.value_cents)
    FROM (SELECT (now() AT TIME ZONE 'Europe/Paris')::date AS day) today CROSS JOIN cheque
    JOIN charge ON (charge.grant_id, charge.envelope_id) = (cheque.grant_id, cheque.envelope_id)
    JOIN cheque_grant ON cheque_grant.id = charge.grant_id
    WHERE cheque.ending IS NOT NULL GROUP BY 1, 3, 4, 5, 6
    """,
)


def upgrade() -> None:
    _create_conventions()
    _add_to_envelopes()
    _create_movements()
    _create_charges()
    _create_journal()
    _create_redemptions()
    for statement in _FILL:
        op.execute(statement)
    op.alter_column("envelope", "convention_id", nullable=False)
    op.execute("""
        CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
    """)
    for table in _APPEND_ONLY:
        op.execute(f"""
            CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting()
        """)


def downgrade() -> None:
    for table in ("redemption", "journal_entry", "charge", "envelope_movement", "convention_amendment"):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_rewriting()")
    for name in ("envelope_share_check", "envelope_reserved_check", "envelope_amount_check"):
        op.drop_constraint(name, "envelope")
    # An envelope that was closed before anything was engaged has no amount; the older schema asks for one.
    op.execute("UPDATE envelope SET amount_cents = 1 WHERE amount_cents = 0")
    op.create_check_constraint("envelope_amount_check", "envelope", "amount_cents > 0")
    op.drop_index("envelope_convention_id_idx", "envelope")
    for column in ("convention_id", "reserved_cents", "engaged_reserved_cents", "share_bp", "closed_at"):
        op.drop_column("envelope", column)
    op.drop_table("convention")


def _texts(name: str) -> sa.Column[list[str]]:
    return sa.Column(name, pg.ARRAY(sa.Text), nullable=False)


def _instant(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _create_conventions() -> None:
    op.create_table(
        "convention",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("funder", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("amount_cents", sa.BigInteger),
        sa.Column("starts_on", sa.Date),
        sa.Column("ends_on", sa.Date),
        _texts("target_publics"),
        _texts("territory"),
        sa.Column("pays_at_most_bp", sa.Integer, nullable=False),
        _texts("reserved_publics"),
        sa.Column("reserved_bp", sa.Integer, nullable=False),
        _instant("created_at"),
        sa.UniqueConstraint("funder", "reference", name="convention_funder_reference_key"),
        sa.CheckConstraint("amount_cents > 0", name="convention_amount_check"),
        sa.CheckConstraint("starts_on <= ends_on", name="convention_period_check"),
        sa.CheckConstraint("pays_at_most_bp BETWEEN 1 AND 10000", name="convention_pays_at_most_check"),
        sa.CheckConstraint("reserved_bp BETWEEN 0 AND 10000", name="convention_reserved_check"),
    )

    op.create_table(
        "convention_amendment",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("convention_id", sa.Uuid, sa.ForeignKey("convention.id"), nullable=False),
        sa.Column("amount_cents", sa.BigInteger),
        sa.Column("ends_on", sa.Date),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_on", sa.Date, nullable=False),
        _instant("made_at"),
    )
    op.create_index("convention_amendment_convention_id_idx", "convention_amendment", ["convention_id", "id"])


def _add_to_envelopes() -> None:
    op.add_column("envelope", sa.Column("convention_id", sa.Uuid, sa.ForeignKey("convention.id")))
    for name in ("reserved_cents", "engaged_reserved_cents"):
        op.add_column("envelope", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("envelope", sa.Column("share_bp", sa.Integer))
    op.add_column("envelope", sa.Column("closed_at", sa.DateTime(timezone=True)))
    op.create_index("envelope_convention_id_idx", "envelope", ["convention_id"])
    op.drop_constraint("envelope_amount_check", "envelope")
    op.create_check_constraint("envelope_amount_check", "envelope", "amount_cents >= 0")
    op.create_check_constraint("envelope_share_check", "envelope", "share_bp BETWEEN 1 AND 10000")
    op.create_check_constraint(
        "envelope_reserved_check",
        "envelope",
        "engaged_reserved_cents BETWEEN 0 AND engaged_cents"
        " AND engaged_cents - engaged_reserved_cents <= amount_cents - reserved_cents",
    )


def _create_movements() -> None:
    op.create_table(
        "envelope_movement",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("envelope_id", sa.Uuid, sa.ForeignKey("envelope.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("before_cents", sa.BigInteger, nullable=False),
        sa.Column("after_cents", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.Column("made_on", sa.Date, nullable=False),
        _instant("made_at"),
        sa.CheckConstraint("kind IN ('opened', 'raised', 'lowered', 'closed')", name="envelope_movement_kind_check"),
    )
    op.create_index("envelope_movement_envelope_id_idx", "envelope_movement", ["envelope_id", "id"])


def _create_charges() -> None:
    op.create_table(
        "charge",
        sa.Column("grant_id", sa.Uuid, sa.ForeignKey("cheque_grant.id"), primary_key=True),
        sa.Column("envelope_id", sa.Uuid, sa.ForeignKey("envelope.id"), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("cents", sa.BigInteger, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("reserved", sa.Boolean, nullable=False),
        sa.Column("prescriber_kind", sa.Text),
    )


def _create_journal() -> None:
    op.create_table(
        "journal_entry",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("booked_on", sa.Date, nullable=False),
        sa.Column("occurred_on", sa.Date, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("envelope_id", sa.Uuid, sa.ForeignKey("envelope.id"), nullable=False),
        sa.Column("target_public", sa.Text),
        sa.Column("prescriber_kind", sa.Text),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("cents", sa.BigInteger, nullable=False),
        sa.CheckConstraint(
            "kind IN ('engaged', 'used', 'unused', 'cancelled', 'expired', 'paid')", name="journal_entry_kind_check"
        ),
        sa.CheckConstraint("number > 0 AND cents > 0", name="journal_entry_sum_check"),
    )
    op.create_index("journal_entry_envelope_id_idx", "journal_entry", ["envelope_id", "booked_on"])


def _create_redemptions() -> None:
    op.create_table(
        "redemption",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("cheque_id", sa.Uuid, sa.ForeignKey("cheque.id")),
        sa.Column("structure_id", sa.Uuid),
        sa.Column("redeemed_on", sa.Date),
        sa.Column("reversed_on", sa.Date),
        sa.Column("paid_on", sa.Date),
        sa.Column("payment_reference", sa.Text),
        sa.Column("payment_booked", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.CheckConstraint("num_nulls(paid_on, payment_reference) IN (0, 2)", name="redemption_paid_check"),
    )
    op.create_index("redemption_cheque_id_idx", "redemption", ["cheque_id"])
