"""Who did what to programmes, money, grants, cheques and people's data is recorded, and never rewritten."""

from alembic import op

from shared.database.migrations.versions import audit_tables
from shared.database.migrations.versions.audit_tables import Watched

revision = "0009_audit"
down_revision = "0008_auth"

_PROGRAMME = (
    "code", "face_value_cents", "minimum_grant_cents", "single_cheque", "valid_months", "valid_until", "grace_days",
    "spendable", "services", "territory", "assessment_version", "retention_months",
)  # fmt: skip
_CONVENTION = (
    "funder", "reference", "amount_cents", "starts_on", "ends_on", "target_publics", "territory", "pays_at_most_bp",
    "reserved_publics", "reserved_bp",
)  # fmt: skip
_ENVELOPE = (
    "programme_id", "convention_id", "funder", "convention_reference", "amount_cents", "reserved_cents", "starts_on",
    "ends_on", "target_publics", "priority", "share_bp", "closed_at",
)  # fmt: skip
# Whose grant it is, for what public and with how many points says something of a person: that is withheld.
_GRANT = (
    "prescriber_id", "programme_id", "lot_id", "amount_cents", "rule_version", "granted_on", "valid_until",
    "presentable_until",
)  # fmt: skip

_WATCHED = (
    *audit_tables.TRUST,
    Watched("programme", shown=_PROGRAMME),
    Watched("assessment_rule", shown=("programme_id", "version")),
    Watched("convention", shown=_CONVENTION),
    Watched("convention_amendment", shown=("convention_id", "amount_cents", "ends_on"), on=("INSERT",)),
    # What of it is engaged changes with every grant, and is booked there.
    Watched("envelope", shown=_ENVELOPE, when=_ENVELOPE),
    Watched("prescriber", shown=("source_id", "siret", "updated_on")),
    Watched("prescriber_import", key="digest", kind="file"),
    Watched("grant_import", key="digest", kind="file"),
    Watched("cheque_grant", shown=_GRANT, kind="grant"),
    # A grant says that somebody was added; the day of the last grant is no change of theirs.
    Watched("beneficiary", when=("digest",), on=("UPDATE", "DELETE")),
    # What the redeemer tells of a cheque is in its log.
    Watched("cheque", shown=("blocked", "state"), when=("blocked",), on=("UPDATE",)),
    Watched("cancellation", on=("INSERT", "UPDATE", "DELETE")),
    Watched("cancellation_cheque", key="cheque_id", shown=("cancellation_id", "outcome"), kind="cheque"),
    Watched("replacement", key="cancellation_id", shown=("cause",)),
    Watched(
        "replaced_cheque",
        key="old_cheque_id",
        shown=("cancellation_id", "new_cheque_id", "issued_at"),
        when=("new_cheque_id", "issued_at"),
        kind="cheque",
    ),
    Watched("lot", shown=("code", "programme_id", "suspended_at", "closed_at")),
    Watched("lot_statement", key="lot_id", shown=("agreed_at", "digest")),
    Watched("erasure", shown=("ground", "people", "grants")),
)


def upgrade() -> None:
    audit_tables.create(op)
    audit_tables.watch(op, *_WATCHED)


def downgrade() -> None:
    audit_tables.ignore(op, *_WATCHED)
    audit_tables.drop(op)
