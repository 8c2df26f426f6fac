"""Looking for what must not have been written, in all that was: files, tables, the broker, what the services tell."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psycopg
import redis
from psycopg import sql

Traces = Iterable[tuple[str, bytes]]
"""Where something was written, and all that was written there."""


def of_code(code: str) -> set[bytes]:
    """A code, as printed, in every spelling; without its check character, so that a code cut short is found too."""
    bare = code.replace("-", "")[:16]
    grouped = [bare[start : start + 4] for start in range(0, 16, 4)]
    return _encoded({bare, "-".join(grouped), " ".join(grouped)})


def of_name(name: str) -> set[bytes]:
    """A name or a day in every spelling."""
    return _encoded({name, name.title(), json.dumps(name).strip('"')}) | {name.encode("latin-1")}


def _encoded(texts: set[str]) -> set[bytes]:
    raw = {one.encode() for text in texts for one in (text, text.upper(), text.lower())}
    told = {spelt for one in raw for spelt in (one.hex().encode(), one.hex().upper().encode(), *_base64(one))}
    wide = {one.decode().encode("utf-16-le") for one in raw}
    return raw | told | wide | {one[::-1] for one in raw}


def _base64(raw: bytes) -> Iterator[bytes]:
    """Base64 at each of the three places where the secret may begin, without what its neighbours decide."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        whole = encoded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))


def found(secrets: Mapping[str, set[bytes]], traces: Traces) -> list[tuple[str, str]]:
    """Which secret stands where; a secret is named by what it is, so that a failing test tells none."""
    return [
        (where, name)
        for where, written in traces
        for name, spellings in secrets.items()
        if any(spelling in written for spelling in spellings)
    ]


def files(folder: Path, *, but: str = "\0") -> Traces:
    """Every file below a folder, the database's own included, but for those whose name begins so."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(but):
            yield str(path.relative_to(folder)), path.read_bytes()


def tables(owner_url: str) -> Traces:
    """Every table of every service, as text (bytes in hexadecimal) and in binary (bytes as they are)."""
    with psycopg.connect(owner_url.replace("+psycopg", ""), autocommit=True) as connection:
        wanted = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'"
        for schema, table in connection.execute(wanted).fetchall():
            for kind in ("text", "binary"):
                statement = sql.SQL("COPY {} TO STDOUT (FORMAT {})").format(
                    sql.Identifier(schema, table), sql.Identifier(kind)
                )
                with connection.cursor().copy(statement) as rows:
                    yield f"{schema}.{table} ({kind})", b"".join(rows)


def broker(url: str) -> Traces:
    """Every key of the broker, with what it holds."""
    with redis.Redis.from_url(url) as server:
        for key in server.scan_iter():
            yield f"broker: {key!r}", key + repr(_value(server, key)).encode()


def _value(server: redis.Redis, key: bytes) -> object:
    kind = server.type(key)
    if kind == b"list":
        return server.lrange(key, 0, -1)
    if kind == b"hash":
        return server.hgetall(key)
    if kind == b"zset":
        return server.zrange(key, 0, -1)
    return server.smembers(key) if kind == b"set" else server.get(key)
