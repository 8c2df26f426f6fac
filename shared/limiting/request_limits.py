"""Limits on what a request holds: JSON that nests too deep or takes too much memory, endless numbers, U+0000."""

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from flask import request

from shared.limiting import slow_bodies
from shared.problems import Invalid, Problem

_View = TypeVar("_View", bound=Callable[..., Any])
_MARK = "__souche_body_limit__"

KIB, MIB = 1024, 1024 * 1024
MAX_BODY_BYTES = 256 * KIB
"""Of the body of a request, unless its route says otherwise."""
MAX_DEPTH = 32
MAX_DIGITS = 100

MAX_VALUES = 500_000
MAX_CONTAINERS = 50_000
"""Objects and arrays: an empty one has two bytes, and takes up to a hundred times as many in memory."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
# Possessive throughout (`++`, `*+`): nothing is read twice or remembered, whatever the bytes are. It matches at every
# place, at the latest at the end, as a search that fails is tried again from each byte.
_NEXT_BRACKET = re.compile(
    rb'(?:[^"\[\]{}0-9]++|[0-9]{1,%d}+(?![0-9])|%b)*+([\[\]{}0-9]|\Z)' % (MAX_DIGITS, _STRING), re.DOTALL
)


class Malformed(Problem, slug="malformed", title="The request cannot be read"):
    """The body is not of its declared type, or nothing that an honest caller would send."""


class TooLarge(Problem, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, slug="too-large", title="The request is too large"):
    """The body is longer than what is taken here."""


class Encoded(Problem, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE, slug="encoded", title="The request is encoded"):
    """The body is compressed: it could be a thousand times as long as it looks."""


def check_encoding() -> None:
    """Raises Encoded where the body is compressed, as nothing here unpacks what it is sent (RFC 9110, 15.5.16)."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise Encoded("Send the body as it is, without Content-Encoding.", headers={"Accept-Encoding": "identity"})


def body_limit(max_bytes: int) -> Callable[[_View], _View]:
    """Takes bodies of so many bytes at a route; it goes below `@roles`. Other routes take MAX_BODY_BYTES."""

    def decorate(view: _View) -> _View:
        vars(view)[_MARK] = max_bytes
        return view

    return decorate


def body_limit_of(view: Any) -> int:
    """How many bytes the body of a request to this view may have."""
    return int(getattr(view, _MARK, MAX_BODY_BYTES))


def check_request(who: str, max_bytes: int = MAX_BODY_BYTES) -> None:
    """Reads the body that this caller sends; raises Invalid, Malformed or Encoded for what no view takes; TooSlow.

    Flask raises RequestEntityTooLarge where the body has more than `max_bytes`.
    """
    check_encoding()
    request.max_content_length = max_bytes
    if any("\0" in value for _, values in request.args.lists() for value in values):
        raise Invalid("A parameter contains the character U+0000.")
    if "\0" in request.path:
        raise Malformed("The path contains the character U+0000.")
    body = slow_bodies.read(who)
    if request.is_json:
        check_json(body)


def check_json(body: bytes, max_values: int = MAX_VALUES, max_containers: int = MAX_CONTAINERS) -> None:
    """Raises Malformed at the first fault, in one scan of the bytes, before a parser meets them.

    What passes is parsed within a few times the size of the body, and of 20 MB where that is more.
    """
    if json.detect_encoding(body) not in ("utf-8", "utf-8-sig"):
        raise Malformed("The JSON is not UTF-8: send it as UTF-8 (RFC 8259, section 8.1).")
    if body.count(b",") >= max_values:
        raise Malformed(f"The JSON holds more than {max_values} values. Send it in parts.")
    depth = containers = 0
    for match in _NEXT_BRACKET.finditer(body):
        found = match[1]
        if found in (b"[", b"{"):
            depth, containers = depth + 1, containers + 1
        elif found in (b"]", b"}"):
            depth -= 1
        elif found:
            raise Malformed(f"The JSON holds a number of more than {MAX_DIGITS} digits.")
        if not 0 <= depth <= MAX_DEPTH:
            raise Malformed(f"The JSON nests deeper than {MAX_DEPTH} levels, or its brackets do not match.")
        if containers > max_containers:
            raise Malformed(f"The JSON holds more than {max_containers} objects and arrays. Send it in parts.")
    if depth:
        raise Malformed("The JSON ends before its brackets are closed.")
