"""Reading what others answer over HTTP, so that no answer is longer, slower or more nested than we have use for.

A timeout of `requests` is for each read: who sends a byte now and then is never caught by it. What is compressed may
be a thousand times as long as it looks, so it is neither asked for nor unpacked.
"""

import json
import time
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from shared.limiting import request_limits

MOST_BYTES = 64 * 1024 * 1024
PLAIN = {"Accept-Encoding": "identity"}
_PIECE = 64 * 1024


class Unfit(Exception):
    """An answer that is too long or too slow, or no JSON that we have use for."""


def read(response: requests.Response, seconds: float, most: int = MOST_BYTES) -> bytes:
    """The body of a response that was asked for as a stream, with PLAIN as its headers.

    Raises Unfit where it is compressed, too long or too slow, and RequestException where the connection breaks.
    """
    ends, pieces, length = time.monotonic() + seconds, list[bytes](), 0
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.close()
        raise Unfit("compressed")
    try:
        # As it comes: waiting for a whole piece would wait for whoever drips.
        while piece := response.raw.read1(_PIECE):
            pieces.append(piece)
            length += len(piece)
            if length > most or time.monotonic() > ends:
                raise Unfit("too long" if length > most else "too slow")
    except (HTTPError, OSError) as error:
        raise requests.exceptions.ChunkedEncodingError(error) from None
    finally:
        response.close()
    if response.raw.length_remaining:
        raise requests.exceptions.ChunkedEncodingError("ended early")
    return b"".join(pieces)


def document(body: bytes) -> Any:
    """The JSON of an answer; raises Unfit where it is none, nests without end, or holds numbers without end."""
    try:
        request_limits.check_json(body)
        return json.loads(body)
    except (ValueError, request_limits.Malformed):
        raise Unfit("no JSON") from None
