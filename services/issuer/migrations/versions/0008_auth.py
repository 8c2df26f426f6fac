"""Who is let in: programs with secrets, people's roles, tokens taken back; and how far digests were rotated."""

import sqlalchemy as sa
from alembic import op

from shared.database.migrations.versions import access_tables

revision = "0008_auth"
down_revision = "0007_people"


def upgrade() -> None:
    access_tables.create_trust_tables(op)
    op.create_table(
        "digest_rotation",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("after", sa.Uuid),
        sa.Column("cheques", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    op.drop_table("digest_rotation")
    access_tables.drop_trust_tables(op)
