"""Limits on the content of a request: JSON that nests too deep, numbers that take minutes to read, U+0000."""

import re
from http import HTTPStatus

from flask import request

from shared.limiting import slow_bodies
from shared.problems import Invalid, Problem

MAX_DEPTH = 32
MAX_DIGITS = 100

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUMBER = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))
_BRACES = bytes.maketrans(b"{}", b"[]")
_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


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


def check_request(who: str) -> None:
    """Reads the body that this caller sends; raises Invalid, Malformed or Encoded for what no view takes; TooSlow."""
    check_encoding()
    if any("\0" in value for _, values in request.args.lists() for value in values):
        raise Invalid("A parameter contains the character U+0000.")
    if "\0" in request.path:
        raise Malformed("The path contains the character U+0000.")
    body = slow_bodies.read(who)
    if request.is_json:
        check_json(body)


def check_json(body: bytes) -> None:
    """Raises Malformed, in time that grows with the length of the bytes, before a parser meets them."""
    bare = _STRINGS.sub(b"", body)
    brackets = bare.translate(_BRACES, _BUT_BRACKETS)
    for _ in range(MAX_DEPTH):  # each round takes the innermost level away
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            break
    else:
        raise Malformed(f"The JSON nests deeper than {MAX_DEPTH} levels, or its brackets do not match.")
    if _NUMBER.search(bare):
        raise Malformed(f"The JSON holds a number of more than {MAX_DIGITS} digits.")
