"""The tables of clients, members and revocations, as the migration `auth` of each service makes them."""

from typing import Any

import sqlalchemy as sa


def create_trust_tables(op: Any) -> None:
    """The tables by which every service knows whom to let in (`shared.access.models`)."""
    op.create_table(
        "oauth_client",
        sa.Column("client_id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scope", sa.Uuid),
        *_made(),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
        sa.Column("disabled_reason", sa.Text),
    )
    op.create_table(
        "oauth_secret",
        sa.Column("secret_id", sa.Uuid, primary_key=True),
        sa.Column("client_id", sa.Uuid, sa.ForeignKey("oauth_client.client_id"), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        *_made(),
    )
    op.create_index("oauth_secret_client_id_idx", "oauth_secret", ["client_id"])
    op.create_table(
        "membership",
        sa.Column("membership_id", sa.Uuid, primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scope", sa.Uuid),
        *_made(),
        sa.UniqueConstraint(
            "provider",
            "subject",
            "role",
            "scope",
            name="membership_provider_subject_role_scope_key",
            postgresql_nulls_not_distinct=True,
        ),
    )
    _create_refusals(op)


def _create_refusals(op: Any) -> None:
    op.create_table(
        "revocation",
        sa.Column("revocation_id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revoked_by", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('token', 'subject', 'scope')", name="revocation_kind_check"),
    )
    op.create_table(
        "token_failure",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
    )


def _made() -> tuple[sa.Column[Any], ...]:
    """When a row was made, and by whom."""
    return (
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("created_by", sa.Text, nullable=False),
    )


def drop_trust_tables(op: Any) -> None:
    """Takes back `create_trust_tables`."""
    for table in ("token_failure", "revocation", "membership", "oauth_secret", "oauth_client"):
        op.drop_table(table)
