"""The journal books payments that were mistyped and withdrawn."""

from alembic import op

revision = "0010_unpaid"
down_revision = "0009_audit"

_BEFORE = "kind IN ('engaged', 'used', 'unused', 'cancelled', 'expired', 'paid')"
_NOW = "kind IN ('engaged', 'used', 'unused', 'cancelled', 'expired', 'paid', 'unpaid')"


def upgrade() -> None:
    _know(_NOW)


def downgrade() -> None:
    """What was withdrawn cannot be told any more: such entries have to go first, by hand."""
    _know(_BEFORE)


def _know(kinds: str) -> None:
    op.drop_constraint("journal_entry_kind_check", "journal_entry", type_="check")
    op.create_check_constraint("journal_entry_kind_check", "journal_entry", kinds)
