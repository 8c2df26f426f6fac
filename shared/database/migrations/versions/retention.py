"""What lets old rows go and parked events keep their request, as the migration `retention` of each service adds it."""

from typing import Any

import sqlalchemy as sa


def add(op: Any) -> None:
    """Adds them."""
    op.add_column("parked_event", sa.Column("request_id", sa.Text))
    op.add_column("cursor", sa.Column("forgotten_before", sa.DateTime(timezone=True)))
    op.create_index("idempotent_answer_created_at_idx", "idempotent_answer", ["created_at"], postgresql_using="brin")


def remove(op: Any) -> None:
    """Takes them back."""
    op.drop_index("idempotent_answer_created_at_idx", "idempotent_answer")
    op.drop_column("cursor", "forgotten_before")
    op.drop_column("parked_event", "request_id")
