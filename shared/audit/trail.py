"""Who did what, when, from where, on which object, before and after: entries that are added and never changed.

Triggers write them (`shared.database.migrations.versions.audit_tables`), in the transaction of the change, be it made
by hand or by program. This module tells the transaction who is acting, and leaves an entry of a request that wrote
anything where no such table was touched. `record` is for what changes no row: above all, that somebody read a person's
data or a cheque's code. Entries are chained by their hashes after they are committed (`shared.audit.hash_chain`).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from shared.eventlog import log
from shared.observability.logs import current_request_id

WITHHELD = "…"
"""Stands for a value that changed and is not written down: names, codes, free text, whatever was not named harmless."""

DONE, REFUSED = "done", "refused"

ENTRY = sa.Table(
    "audit_entry",
    log.TABLES,
    sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("position", sa.BigInteger),
    sa.Column("hash", sa.LargeBinary),
    sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("scope", sa.Uuid),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("address", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object_kind", sa.Text),
    sa.Column("object_id", sa.Text),
    sa.Column("before", pg.JSONB(none_as_null=True)),
    sa.Column("after", pg.JSONB(none_as_null=True)),
    sa.Column("outcome", sa.Text, nullable=False, server_default=DONE),
)

_TELL = sa.text("SELECT set_config('souche.act', :act, true)")
# Whoever wrote an entry says so until the transaction ends: then there is no need of one for the request as such.
_RECORD = sa.text("""
    WITH added AS (
        INSERT INTO audit_entry (role, scope, subject, address, request_id, action, object_kind, object_id,
                                 before, after, outcome)
        SELECT :role, CAST(:scope AS uuid), :subject, :address, :request_id, :action, CAST(:object_kind AS text),
               object_id, CAST(:before AS jsonb), CAST(:after AS jsonb), :outcome
        FROM unnest(CAST(:object_ids AS text[])) AS object_id RETURNING 1
    )
    SELECT set_config('souche.recorded', 'yes', true) FROM added
""")
# A transaction has an id from the first row that it writes: one that only read, a repeat, a trial, leaves nothing.
_RECORD_UNLESS = sa.text("""
    INSERT INTO audit_entry (role, scope, subject, address, request_id, action, object_kind, object_id)
    SELECT :role, CAST(:scope AS uuid), :subject, :address, :request_id, :action, CAST(:object_kind AS text),
           CAST(:object_id AS text)
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL
      AND coalesce(current_setting('souche.recorded', true), '') = ''
""")

# What no entry holds, whoever asks for it to be recorded: by the member's name, and by what only looks like a code.
_SECRET_NAMES = re.compile(r"(?<![a-z])codes?(?![a-z])|name|birth|answer|token|secret|password|identity|digest|sealed")
_CODE = re.compile(r"(?<!\w)(?:[0-9A-Za-z]{4}[ -]?){4}[0-9A-Za-z](?!\w)")


@dataclass(frozen=True)
class Act:
    """Who is doing what, from where; `changes`: it is meant to change something, so transactions send the actor."""

    role: str
    subject: str
    action: str
    scope: UUID | None = None
    address: str | None = None
    request_id: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    changes: bool = True
    of_request: bool = False

    def columns(self) -> dict[str, Any]:
        """What every entry of this act has in common, by the table's columns."""
        return {
            "role": self.role,
            "scope": self.scope,
            "subject": self.subject,
            "address": self.address,
            "request_id": self.request_id or current_request_id(),
            "action": self.action,
        }


_ACTING: ContextVar[Callable[[], Act] | None] = ContextVar("souche_acting", default=None)


def current() -> Act:
    """The current act; by default, the program itself."""
    return _standing() or system("process")


def system(task: str) -> Act:
    """An act of the service's own: a task, a command."""
    return Act("system", task, task)


def begin(who: Callable[[], Act]) -> None:
    """Sets who acts from here on, called when it is needed; `end` undoes it."""
    _ACTING.set(who)


def end() -> None:
    """Ends the current act."""
    _ACTING.set(None)


@contextmanager
def acting(act: Act) -> Iterator[None]:
    """Sets who acts in this block."""
    token = _ACTING.set(lambda: act)
    try:
        yield
    finally:
        _ACTING.reset(token)


def record(
    session: Session,
    kind: str | None,
    ids: Iterable[object] = (None,),
    *,
    action: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    outcome: str = DONE,
) -> None:
    """Adds an entry for each of these objects, in the caller's transaction and by one statement.

    For what no trigger sees: that something was read, that something was refused. `before` and `after` are JSON-ready;
    what is secret by its name is withheld.
    """
    act = current()
    facts = {"object_kind": kind, "before": _written(before), "after": _written(after), "outcome": outcome}
    values = (
        act.columns() | facts | {"object_ids": [None if identifier is None else str(identifier) for identifier in ids]}
    )
    session.execute(_RECORD, values | ({"action": action} if action else {}))


def watch(factory: sessionmaker[Session]) -> sessionmaker[Session]:
    """Makes the sessions of a factory send the actor to the database; returns the factory."""

    @event.listens_for(factory, "after_begin")
    def tell(session: Session, transaction: SessionTransaction, connection: sa.Connection) -> None:
        act = _standing()
        if act is not None and act.changes and not transaction.nested:
            columns = {name: str(value) for name, value in act.columns().items() if value is not None}
            connection.execute(_TELL, {"act": json.dumps(columns)})
            session.info["act"] = act

    @event.listens_for(factory, "before_commit")
    def leave_an_entry(session: Session) -> None:
        act: Act | None = session.info.get("act")
        if act is not None and act.of_request and not session.in_nested_transaction():
            session.flush()
            what = {"object_kind": act.object_kind, "object_id": act.object_id}
            session.execute(_RECORD_UNLESS, act.columns() | what)

    return factory


def withheld(value: Any, name: str = "") -> Any:
    """A value without what is secret in it: by the names of its members, and whatever reads like a cheque's code."""
    if value is not None and _SECRET_NAMES.search(name.lower()):
        return WITHHELD
    if isinstance(value, Mapping):
        return {key: withheld(member, str(key)) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [withheld(member, name) for member in value]
    return _CODE.sub(WITHHELD, value) if isinstance(value, str) else value


def _written(facts: Mapping[str, Any] | None) -> str | None:
    return None if facts is None else json.dumps(withheld(facts), ensure_ascii=False, default=str)


def _standing() -> Act | None:
    who = _ACTING.get()
    return who() if who else None
