"""The rows that some work left, put into tables of the same shape: what writing them takes by itself."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.machine import Machine

_TABLES = """
    SELECT relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' ORDER BY relname
"""
# A generated column is computed, and an identity given, on the other side too.
_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


@dataclass
class Copies:
    """Tables like those of a service, indexes and checks included, in a schema of their own."""

    machine: Machine
    service: str
    tables: Sequence[str]

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """As the owner, who sees the copies where the service has its tables."""
        url = sa.make_url(self.machine.postgres.url(database=self.machine.database)).set(drivername="postgresql")
        connection = psycopg.connect(url.render_as_string(), autocommit=True)
        connection.execute("SET search_path = copies")
        return connection

    def empty(self) -> None:
        """Creates them, empty."""
        with self.connect() as connection:
            connection.execute("DROP SCHEMA IF EXISTS copies CASCADE; CREATE SCHEMA copies")
            for table in self.tables:
                like = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)")
                connection.execute(like.format(sql.Identifier(table), sql.Identifier(self.service, table)))

    def columns(self, connection: psycopg.Connection[tuple[object, ...]], table: str) -> sql.Composed:
        """The columns that are written, as SQL."""
        found = connection.execute(_COLUMNS, [f"{self.service}.{table}"]).fetchall()
        return sql.SQL(", ").join(sql.Identifier(str(name)) for (name,) in found)


def grown(owner: sa.Engine, before: dict[str, int]) -> list[str]:
    """The tables that have more rows than before."""
    return [table for table, rows in sizes(owner).items() if rows > before[table]]


def sizes(owner: sa.Engine) -> dict[str, int]:
    """How many rows each table of a service has."""
    with owner.connect() as connection:
        tables = connection.execute(sa.text(_TABLES)).scalars().all()
        return {table: connection.exec_driver_sql(f'SELECT count(*) FROM "{table}"').scalar_one() for table in tables}  # noqa: S608 (its own tables)


def copy_all(copies: Copies) -> float:
    """Seconds in which one client COPYs the rows of a service's tables into the copies, in one transaction."""
    copies.empty()
    with copies.connect() as connection:
        read = {table: _read(copies, connection, table) for table in copies.tables}
        began = time.perf_counter()
        with connection.transaction(), connection.cursor() as cursor:
            for table, (columns, data) in read.items():
                statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(table), columns)
                with cursor.copy(statement) as copy:
                    for block in data:
                        copy.write(block)
        return time.perf_counter() - began


def _read(
    copies: Copies, connection: psycopg.Connection[tuple[object, ...]], table: str
) -> tuple[sql.Composed, list[bytes]]:
    columns = copies.columns(connection, table)
    source = sql.Identifier(copies.service, table)
    statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)").format(columns, source)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        return columns, [bytes(block) for block in copy]


def insert_all(copies: Copies, batch: int, of: str) -> float:
    """Seconds in which one client INSERTs the same rows, a transaction for each `batch` rows of the table `of`.

    The rows of the other tables go in in proportion: as many transactions in all, each with a statement a table.
    """
    copies.empty()
    with copies.connect() as connection:
        read = {table: _texts(copies, connection, table) for table in copies.tables}
        number = max(1, -(-len(read[of][1]) // batch))
        began = time.perf_counter()
        for part in range(number):
            with connection.transaction():
                for statement, rows in read.values():
                    some = rows[len(rows) * part // number : len(rows) * (part + 1) // number]
                    if some:
                        connection.execute(statement, [some])
        return time.perf_counter() - began


def _texts(
    copies: Copies, connection: psycopg.Connection[tuple[object, ...]], table: str
) -> tuple[sql.Composed, list[str]]:
    columns, name = copies.columns(connection, table), sql.Identifier(table)
    source = sql.Identifier(copies.service, table)
    rows = connection.execute(sql.SQL("SELECT given::text FROM {} given").format(source))
    insert = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest(%s::text[]::{}[])")
    return insert.format(name, columns, columns, name), [str(row) for (row,) in rows.fetchall()]
