"""What was done to conventions and envelopes is in the order in which the database took it, whatever the clocks said.

Rows that are there keep the order of their identifiers, which was theirs until now.
"""

from alembic import op

revision = "0013_last_word"
down_revision = "0012_lookups"

_TABLES = ("convention_amendment", "envelope_movement")
_ADD = """
    ALTER TABLE {table} ADD COLUMN sequence bigint;
    ALTER TABLE {table} DISABLE TRIGGER append_only;
    UPDATE {table} SET sequence = numbered.sequence
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS sequence FROM {table}) AS numbered
    WHERE {table}.id = numbered.id;
    ALTER TABLE {table} ENABLE TRIGGER append_only;
    ALTER TABLE {table} ALTER COLUMN sequence SET NOT NULL, ALTER COLUMN sequence ADD GENERATED ALWAYS AS IDENTITY;
    SELECT setval(pg_get_serial_sequence('{table}', 'sequence'), coalesce(max(sequence), 0) + 1, false) FROM {table};
"""


def upgrade() -> None:
    for table in _TABLES:
        op.execute(_ADD.format(table=table))


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "sequence")
