"""Who did what to contracts, comparisons and switches is recorded, and never rewritten."""

from alembic import op

from shared.database.migrations.versions import audit_tables
from shared.database.migrations.versions.audit_tables import Watched

revision = "0008_audit"
down_revision = "0007_auth"

_CONTRACT = ("code", "operator", "programme", "state", "starts_on", "ends_on", "held_at", "succeeds")
_SWITCH = ("from_contract_id", "to_contract_id", "payer_contract_id", "mode", "step", "finished_at")
_RECONCILIATION = ("contract_id", "night", "state", "lines", "settled", "resolved", "waiting", "withheld")

_WATCHED = (
    *audit_tables.TRUST,
    # How its operator answers changes with every call.
    Watched("contract", key="contract_id", shown=_CONTRACT, when=(*_CONTRACT, "held_reason")),
    Watched(
        "discrepancy",
        key="discrepancy_id",
        shown=("kind", "state", "policy", "resolved_by", "accepted", "resolved_at"),
        when=("state", "accepted"),
        on=("UPDATE", "DELETE"),
    ),
    Watched("reconciliation", key="reconciliation_id", shown=_RECONCILIATION, when=("state",)),
    Watched("switch", key="switch_id", shown=_SWITCH, when=("step", "accepted", "finished_at")),
)


def upgrade() -> None:
    audit_tables.create(op)
    audit_tables.watch(op, *_WATCHED)


def downgrade() -> None:
    audit_tables.ignore(op, *_WATCHED)
    audit_tables.drop(op)
