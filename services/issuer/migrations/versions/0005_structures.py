"""Where cheques are taken, mirrored for the booklets, and what a programme's cheques pay for, in plain words."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0005_structures"
down_revision = "0004_life"


def upgrade() -> None:
    op.create_table(
        "training_structure",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("postcode", sa.Text),
        sa.Column("commune", sa.Text),
        sa.Column("insee_code", sa.Text),
        sa.Column("latitude", sa.Float),
        sa.Column("longitude", sa.Float),
        sa.Column("services", pg.ARRAY(sa.Text)),
        sa.Column("phone", sa.Text),
        sa.Column("suspended", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "structure_affiliation",
        sa.Column("structure_id", sa.Uuid, sa.ForeignKey("training_structure.id"), primary_key=True),
        sa.Column("contract_id", sa.Uuid, primary_key=True),
        sa.Column("starts_on", sa.Date, primary_key=True),
        sa.Column("ends_on", sa.Date),
    )
    op.create_table(
        "operator_contract",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("programme", sa.Text, nullable=False),
    )
    op.add_column("programme", sa.Column("purpose", sa.Text))
    # The logs are read again from the start: what nobody here took in before is taken in, what was is remembered.
    op.execute("UPDATE cursor SET position = 0")


def downgrade() -> None:
    op.drop_column("programme", "purpose")
    for table in ("operator_contract", "structure_affiliation", "training_structure"):
        op.drop_table(table)
