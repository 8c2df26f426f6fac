"""The audit trail of a service's schema: its table, what keeps it from being rewritten, and the triggers.

A migration makes the table with `create`, and says with `watch` which tables leave entries and which of their columns
are written down. Any other column that changes is named and its value withheld, so one that is added later keeps its
values to itself until a migration says that they are harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

_CONTENT = (
    "sequence", "occurred_at", "role", "scope", "subject", "address", "request_id", "action",
    "object_kind", "object_id", "before", "after", "outcome",
)  # fmt: skip

_REFUSE = """
    CREATE FUNCTION refuse_rewriting_audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit trail is never rewritten' USING ERRCODE = 'restrict_violation';
    END $$
"""
# Who acts was told to the transaction; where it was not, somebody is at work by hand, and the database knows who.
_RECORD = """
    CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    DECLARE
        act jsonb := coalesce(nullif(current_setting('souche.act', true), ''), '{}')::jsonb;
        shown text[] := string_to_array(TG_ARGV[2], ',');
        was jsonb := to_jsonb(OLD);
        becomes jsonb := to_jsonb(NEW);
        before jsonb;
        after jsonb;
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            SELECT jsonb_object_agg(key, CASE WHEN harmless THEN old_value ELSE '"…"' END),
                   jsonb_object_agg(key, CASE WHEN harmless THEN new_value ELSE '"…"' END)
            INTO before, after
            FROM (
                SELECT key, key = ANY(shown) AS harmless, value AS old_value, becomes -> key AS new_value
                FROM jsonb_each(was) WHERE value IS DISTINCT FROM becomes -> key
            ) AS changed;
        ELSE
            SELECT jsonb_object_agg(key, value) INTO after
            FROM jsonb_each(coalesce(becomes, was)) WHERE key = ANY(shown) AND value <> 'null';
            IF TG_OP = 'DELETE' THEN
                before := coalesce(after, '{}');
                after := NULL;
            ELSE
                after := coalesce(after, '{}');
            END IF;
        END IF;
        INSERT INTO audit_entry (role, scope, subject, address, request_id, action, object_kind, object_id,
                                 before, after)
        VALUES (coalesce(act ->> 'role', 'database'), (act ->> 'scope')::uuid,
                coalesce(act ->> 'subject', session_user),
                coalesce(act ->> 'address', CASE WHEN act = '{}' THEN host(inet_client_addr()) END),
                act ->> 'request_id', coalesce(act ->> 'action', TG_OP), TG_ARGV[0],
                coalesce(becomes, was) ->> TG_ARGV[1], before, after);
        PERFORM set_config('souche.recorded', 'yes', true);
        RETURN NULL;
    END $$
"""


@dataclass(frozen=True)
class Watched:
    """A table whose changes are recorded.

    `key` is the column that names the object, of the kind `kind` (the table's name, if it is not said). `shown` are the
    columns whose values are written down. `when`: an update is recorded only where one of these columns changes; none:
    where any does.
    """

    table: str
    key: str = "id"
    shown: Sequence[str] = ()
    when: Sequence[str] = ()
    on: Sequence[str] = ("INSERT", "UPDATE", "DELETE")
    kind: str = ""


TRUST = (
    Watched("oauth_client", key="client_id", shown=("role", "scope", "disabled_at"), kind="client"),
    Watched("oauth_secret", key="secret_id", shown=("client_id",), kind="client_secret"),
    Watched("membership", key="membership_id", shown=("provider", "role", "scope")),
    Watched("revocation", key="revocation_id", shown=("kind", "before", "until")),
)
"""The tables by which every service knows whom to let in."""


def create(op: Any) -> None:
    """Makes the table of entries, which grows at its end and nowhere else."""
    op.create_table(
        "audit_entry",
        sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("position", sa.BigInteger),
        sa.Column("hash", sa.LargeBinary),
        sa.Column(
            "occurred_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
        ),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scope", sa.Uuid),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object_kind", sa.Text),
        sa.Column("object_id", sa.Text),
        sa.Column("before", pg.JSONB),
        sa.Column("after", pg.JSONB),
        sa.Column("outcome", sa.Text, nullable=False, server_default="done"),
        sa.CheckConstraint("(position IS NULL) = (hash IS NULL)", name="audit_entry_chained_check"),
    )
    # An entry that is new is in the second of these two, and one that is chained in the first.
    op.create_index(
        "audit_entry_position_idx", "audit_entry", ["position"], unique=True, postgresql_where="position IS NOT NULL"
    )
    op.create_index("audit_entry_unchained_idx", "audit_entry", ["sequence"], postgresql_where="position IS NULL")
    op.create_index("audit_entry_object_id_idx", "audit_entry", ["object_id"], postgresql_where="object_id IS NOT NULL")
    op.create_index("audit_entry_occurred_at_idx", "audit_entry", ["occurred_at"], postgresql_using="brin")
    op.execute(_REFUSE)
    op.execute(_RECORD)
    old, new = (", ".join(f"{row}.{column}" for column in _CONTENT) for row in ("OLD", "NEW"))
    op.execute(f"""
        CREATE TRIGGER append_only BEFORE UPDATE ON audit_entry FOR EACH ROW
        WHEN (OLD.position IS NOT NULL OR NEW.position IS NULL OR ROW({old}) IS DISTINCT FROM ROW({new}))
        EXECUTE FUNCTION refuse_rewriting_audit()
    """)
    op.execute("""
        CREATE TRIGGER never_deleted BEFORE DELETE ON audit_entry
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_audit()
    """)


def watch(op: Any, *watched: Watched) -> None:
    """Has every change of these tables leave an entry."""
    for each in watched:
        for change in each.on:
            op.execute(_trigger(each, change))


def _trigger(watched: Watched, change: str) -> str:
    given = f"'{watched.kind or watched.table}', '{watched.key}', '{','.join(watched.shown)}'"
    condition = f"WHEN ({_changed(watched.when)})" if change == "UPDATE" else ""
    return f"""
        CREATE TRIGGER audit_{change.lower()} AFTER {change} ON {watched.table} FOR EACH ROW {condition}
        EXECUTE FUNCTION record_change({given})
    """


def _changed(columns: Sequence[str]) -> str:
    if not columns:
        return "OLD.* IS DISTINCT FROM NEW.*"
    return " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns)


def ignore(op: Any, *watched: Watched) -> None:
    """Takes back `watch`."""
    for each in watched:
        for change in each.on:
            op.execute(f"DROP TRIGGER audit_{change.lower()} ON {each.table}")


def drop(op: Any) -> None:
    """Takes back `create`."""
    op.drop_table("audit_entry")
    op.execute("DROP FUNCTION record_change()")
    op.execute("DROP FUNCTION refuse_rewriting_audit()")
