"""Where a name may hide: every way in which it may be written, in everything that the three services have written."""

import base64
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import redis

from demo.stack.embedded import EmbeddedPostgres
from services.issuer.people.identities import normalised
from shared.settings.settings import SERVICES


def spellings(name: str) -> set[bytes]:
    """A name as text, and as what text becomes: escaped, in hexadecimal, in base64 wherever it begins in it."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    written = (name, plain, normalised(name))
    texts = {
        form for text in written for form in (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))
    }
    cased = {change(text) for text in texts for change in (str, str.upper, str.lower, str.title)}
    return {form for text in cased for form in _forms(text)}


def _forms(text: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "cp1252"):
        raw = text.encode(encoding, "ignore")
        yield from (raw, raw.hex().encode(), raw.hex().upper().encode(), *_in_base64(raw))
    escaped = text.encode("unicode_escape")
    yield from (escaped, escaped.replace(b"\\", b"\\\\"), quote(text).encode())


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """What is sure of it, by where it begins among what is encoded with it."""
    for before in range(3):
        first, last = (before * 8 + 5) // 6, (before + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + raw)[first:last]


def found(names: Iterable[str], heaps: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    """The heaps in which one of these names stands, and how."""
    wanted = {form for name in names for form in spellings(name)}
    traces = {heap: [form for form in wanted if form in content] for heap, content in heaps.items()}
    return {heap: forms for heap, forms in traces.items() if forms}


def databases(postgres: EmbeddedPostgres) -> dict[str, bytes]:
    """A dump of each service's schema."""
    return {f"database {schema}": dump(postgres, schema) for schema in SERVICES}


def dump(postgres: EmbeddedPostgres, schema: str) -> bytes:
    """All of a schema's rows, as PostgreSQL writes them."""
    program, socket = str(postgres.bin / "pg_dump"), str(postgres.directory)
    command = [program, "-h", socket, "-U", "souche", "-n", schema, "--restrict-key=x", "souche"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def broker(url: str) -> bytes:
    """Every key of Redis, and what it holds."""
    with redis.Redis.from_url(url) as store:
        return b"\n".join(key + b" " + _held(store, key) for key in store.scan_iter())


def _held(store: Any, key: bytes) -> bytes:
    readers = {
        b"string": lambda: store.get(key),
        b"list": lambda: store.lrange(key, 0, -1),
        b"hash": lambda: store.hgetall(key),
        b"set": lambda: store.smembers(key),
        b"zset": lambda: store.zrange(key, 0, -1),
    }
    return _flat(readers[store.type(key)]())


def _flat(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    items = value.items() if isinstance(value, dict) else [(each,) for each in value]
    return b" ".join(part for item in items for part in item)
