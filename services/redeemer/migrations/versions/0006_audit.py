"""Who did what to structures, redemptions and statements is recorded, and never rewritten."""

from alembic import op

from shared.database.migrations.versions import audit_tables
from shared.database.migrations.versions.audit_tables import Watched

revision = "0006_audit"
down_revision = "0005_auth"

_STATEMENT = (
    "year", "number", "structure_id", "month", "issued_at", "due_on", "redemptions", "corrections", "due_cents",
    "confirmed_cents", "paid_cents",
)  # fmt: skip

_WATCHED = (
    *audit_tables.TRUST,
    Watched("structure", shown=("source_id", "siret", "postcode", "updated_on", "suspended_at")),
    Watched("structure_import", key="digest", kind="file"),
    Watched("affiliation", shown=("structure_id", "contract_id", "starts_on", "ends_on")),
    # A redemption is recorded by the statement that makes it; what is settled of it is in the bridge's log.
    Watched("redemption", shown=("reversed_at",), when=("reversed_at",), on=("UPDATE",)),
    Watched("redemption", shown=("cheque_id", "structure_id", "amount_cents"), on=("DELETE",)),
    Watched("statement", shown=_STATEMENT),
    Watched("statement_month", key="month", shown=("month", "closed_at")),
    Watched("redemption_correction", shown=("redemption_id", "owed_cents")),
    Watched("payment", shown=("statement_id", "amount_cents", "paid_on")),
    Watched("payment_import", key="digest", kind="file"),
    Watched("payment_term", key="programme", shown=("programme", "days")),
)


def upgrade() -> None:
    audit_tables.create(op)
    audit_tables.watch(op, *_WATCHED)


def downgrade() -> None:
    audit_tables.ignore(op, *_WATCHED)
    audit_tables.drop(op)
