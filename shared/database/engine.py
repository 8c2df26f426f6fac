"""The database of one service: an engine bound to its schema, and transactions.

A service's role has its schema as its search path, so neither models nor SQL ever name a schema.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import event
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

# A lock or a statement that takes this long is a fault to report, not to wait for.
_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "30s"
# A process that froze in mid-transaction must not lock its rows for ever.
_IDLE_IN_TRANSACTION_TIMEOUT = "60s"

# For the disks of today: by PostgreSQL's own 4 it reads a whole table rather than find 500 rows of it by their ids.
_RANDOM_PAGE_COST = "1.1"

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

UUIDS: pg.ARRAY[UUID] = pg.ARRAY(sa.Uuid())

_NAMES = {
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}


def metadata() -> sa.MetaData:
    """The metadata of one service's models, with PostgreSQL's own naming of constraints."""
    return sa.MetaData(naming_convention=_NAMES)


def connect(
    url: str, schema: str, pool_size: int = 8, more: Mapping[str, str] = _NO_SETTINGS, **options: Any
) -> sa.Engine:
    """An engine whose connections see `schema` and nothing else, speak UTC, never wait for ever; `more` settings."""
    settings = {
        "random_page_cost": _RANDOM_PAGE_COST,
        **more,
        "search_path": schema,
        "timezone": "UTC",
        "lock_timeout": _LOCK_TIMEOUT,
        "statement_timeout": _STATEMENT_TIMEOUT,
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_TIMEOUT,
        "application_name": f"souche-{schema}",
    }
    engine = sa.create_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        # As few as are needed do the work: each has plans and caches of its own.
        pool_use_lifo=True,
        pool_timeout=10,
        # Parameters are codes' digests, identities, amounts: no error message repeats them.
        hide_parameters=True,
        connect_args={"options": " ".join(f"-c {name}={value}" for name, value in settings.items())},
        **options,
    )
    event.listen(engine, "connect", _send_arrays_in_binary)
    return engine


def _send_arrays_in_binary(connection: Any, _record: object) -> None:
    """As text each element is searched for what needs quotes: eight times as long for ids, and longer for digests."""
    connection.adapters.register_dumper(list, ListBinaryDumper)


def connect_autocommit(url: str, schema: str, pool_size: int) -> sa.Engine:
    """The same for statements that are each a transaction of their own: nothing begins, commits or resets one.

    Left alone, the server plans such a statement for its arrays each time, which takes as long as running it.
    """
    planned_once = {"plan_cache_mode": "force_generic_plan"}
    return connect(url, schema, pool_size, planned_once, isolation_level="AUTOCOMMIT", pool_reset_on_return=None)


def driver_url(url: str) -> sa.URL:
    """The address with psycopg 3 as its driver, however IT wrote it."""
    return sa.make_url(url).set(drivername="postgresql+psycopg")


def among(column: Any, ids: Collection[UUID]) -> sa.ColumnElement[bool]:
    """Whether a column is one of these ids: one parameter, however many they are (a statement takes 65 535)."""
    wanted: sa.ColumnElement[bool] = column == sa.any_(sa.cast(list(ids), UUIDS))
    return wanted


def columns(names: Sequence[str], rows: Collection[Mapping[Any, Any]]) -> dict[str, list[Any]]:
    """An array for each column of these rows: parameters of a statement that unnests them."""
    return {name: [row[name] for row in rows] for name in names}


def arrays(names: Sequence[str], rows: Collection[Sequence[Any]]) -> dict[str, list[Any]]:
    """The same of rows whose values stand in the order of the names."""
    values = map(list, zip(*rows, strict=True)) if rows else ([] for _ in names)
    return dict(zip(names, values, strict=True))


def insert_rows(
    session: Session,
    model: type[DeclarativeBase],
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    skip_existing: bool = False,
) -> None:
    """Inserts rows of a model, each the values of the columns `names`: one statement of an array for each column.

    Those whose key is there already fail, or are skipped. JSON is given as text. Not for columns that are arrays.
    """
    if rows:
        session.execute(_insert_unnested(model, tuple(names), skip_existing), arrays(names, rows))


@cache
def _insert_unnested(model: type[DeclarativeBase], names: tuple[str, ...], skip_existing: bool) -> pg.Insert:
    table: Any = model.__table__
    casts = [sa.cast(sa.bindparam(name), pg.ARRAY(table.c[name].type)) for name in names]
    rows = sa.func.unnest(*casts).table_valued(*names).render_derived()
    insert = pg.insert(table).from_select(names, sa.select(rows), include_defaults=False)
    return insert.on_conflict_do_nothing() if skip_existing else insert


def sessions(engine: sa.Engine, after_events: Callable[[], None]) -> sessionmaker[Session]:
    """Sessions of an engine; `after_events` is called after each commit that appended events (`eventlog.log`)."""
    factory = sessionmaker(engine, expire_on_commit=False)

    @event.listens_for(factory, "after_commit")
    def call_back(session: Session) -> None:
        if session.in_nested_transaction():
            return  # a savepoint was released: nobody else sees anything yet
        if session.info.pop("appended_events", False):
            after_events()
        for callback in session.info.pop("after_commit", ()):
            callback()

    return factory


def after_commit(session: Session, callback: Callable[[], None]) -> None:
    """Calls back once this transaction is committed, never where it is rolled back. Not for use within a savepoint."""
    session.info.setdefault("after_commit", []).append(callback)
