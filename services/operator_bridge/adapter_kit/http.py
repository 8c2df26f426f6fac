"""HTTP for adapters: one kept-alive session, timeouts, OAuth2, and what a failure means.

The question after a failure is whether the operator may have executed the request. Not reached, 429 and 503: it did
nothing. 400, 413 and 422: it will not do it. All else, from a timeout to a 500 to an unreadable answer: unknown.
"""

import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from standardwebhooks import Webhook, WebhookVerificationError
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError

from services.operator_bridge.adapter_kit import mapping
from services.operator_bridge.interface import (
    BadSignature,
    NoAnswer,
    OperatorFailure,
    OperatorRefused,
    OperatorUnavailable,
    Unreadable,
)
from shared.values import clock

_CONNECT_SECONDS = 3.0
# A token is renewed this long before it ends, so that it does not end on the way.
_TOKEN_MARGIN_SECONDS = 10
# An id, an instant, the signatures by some keys. Of thousands, all would be compared.
_MAX_HEADERS = 2048
_UNAVAILABLE = (401, 403, 404, 405, 408, 429, 503)
_REFUSED = (400, 413, 415, 422)
_FAILED = 400
# So many timeouts, which are for each read, is for the whole answer.
_PATIENCE = 3
_MAX_BYTES, _MAX_TOKEN_BYTES = 64 * 1024 * 1024, 256 * 1024
_PIECE = 64 * 1024
# Ten million lines have room in a fifth of them, a hundred a page.
_MAX_PAGES = 500_000
_MAX_CURSOR = 2_000
_NOTHING: Mapping[Any, str] = {}


@dataclass(frozen=True)
class _Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_redirect: bool


class ClientCredentials:
    """Tokens by OAuth2 client credentials (RFC 6749, section 4.4), kept until shortly before they end."""

    def __init__(self, address: str, client_id: str, client_secret: str, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._credentials = (client_id, client_secret)
        self._lock = threading.Lock()
        self._token, self._ends = "", 0.0

    def token(self) -> str:
        """A token that is good now; raises OperatorUnavailable, as nothing was requested yet."""
        with self._lock:
            if time.monotonic() >= self._ends:
                self._token, seconds = self._ask()
                self._ends = time.monotonic() + seconds - _TOKEN_MARGIN_SECONDS
            return self._token

    def forget(self) -> None:
        """Makes the next call ask for a new token."""
        self._ends = 0.0

    def _ask(self) -> tuple[str, float]:
        """A new token and its seconds of life."""
        options: dict[str, Any] = {"data": {"grant_type": "client_credentials"}, "auth": self._credentials}
        try:
            response = _request(
                requests.request, "POST", self._address, self._timeout, max_bytes=_MAX_TOKEN_BYTES, **options
            )
            answer = _json(response)
            return str(answer["access_token"]), float(answer.get("expires_in", 300))
        except OperatorFailure as error:
            raise OperatorUnavailable(f"no token: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise OperatorUnavailable("no token: the answer makes no sense") from None


class Client:
    """JSON over HTTP with one operator."""

    def __init__(self, address: str, timeout: float, credentials: ClientCredentials | None = None) -> None:
        self._address = address.rstrip("/")
        self._timeout = timeout
        self._credentials = credentials
        self._session = requests.Session()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The JSON object at a path; raises OperatorUnavailable, OperatorRefused or NoAnswer."""
        return _json(self._send("GET", path, params=query))

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """The pages of a list, the `next` of each being the `cursor` of the following.

        Raises what `get` raises, and NoAnswer where they go round in circles or on for ever.
        """
        cursor: Any = ""
        seen = set[str]()
        while cursor is not None:
            seen.add(cursor)
            page = self.get(path, **query, cursor=cursor)
            yield page
            cursor = page.get("next")
            if cursor is not None and not (isinstance(cursor, str) and len(cursor) <= _MAX_CURSOR):
                raise NoAnswer("a page names no next one that can be asked for")
            if cursor in seen or len(seen) >= _MAX_PAGES:
                raise NoAnswer("its pages never end")

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """The JSON object that answers a POST; raises OperatorUnavailable, OperatorRefused or NoAnswer."""
        return _json(self._send("POST", path, json=body))

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] = _NOTHING,
        *,
        unavailable: Mapping[int, str] = _NOTHING,
        refused: Mapping[int, str] = _NOTHING,
        empty: Container[int] = (),
    ) -> tuple[int, Any]:
        """The status and the JSON of any call, for an operator with statuses of its own.

        They mean OperatorUnavailable or OperatorRefused, for that reason, or are answers without JSON; for all other
        statuses it raises as `get` does.
        """
        response = self._send(method, path, json=body, headers=headers)
        status = response.status
        if status in unavailable:
            raise OperatorUnavailable(unavailable[status], _retry_after(response))
        if status in refused:
            raise OperatorRefused(refused[status])
        return status, None if status in empty else _json(response)

    def _send(self, method: str, path: str, **options: Any) -> _Answer:
        response = self._once(method, path, **options)
        if response.status == 401 and self._credentials:
            self._credentials.forget()
            response = self._once(method, path, **options)
        return response

    def _once(self, method: str, path: str, headers: Mapping[str, str] = _NOTHING, **options: Any) -> _Answer:
        if self._credentials:
            headers = {**headers, "Authorization": f"Bearer {self._credentials.token()}"}
        return _request(self._session.request, method, self._address + path, self._timeout, headers, **options)


def _request(
    send: Callable[..., requests.Response],
    method: str,
    address: str,
    timeout: float,
    headers: Mapping[str, str] = _NOTHING,
    max_bytes: int = _MAX_BYTES,
    **options: Any,
) -> _Answer:
    """The answer to one request; raises OperatorUnavailable or NoAnswer.

    What is compressed may be a thousand times as long as it looks, so it is neither asked for nor unpacked.
    """
    options |= {"headers": {"Accept-Encoding": "identity", **headers}, "timeout": (_CONNECT_SECONDS, timeout)}
    try:
        response = send(method, address, allow_redirects=False, stream=True, **options)
        body = _read(response, _PATIENCE * timeout, max_bytes)
    except requests.RequestException as error:
        if _never_reached(error):
            raise OperatorUnavailable(f"not reached: {type(error).__name__}") from None
        raise NoAnswer(f"no answer: {type(error).__name__}") from None
    return _Answer(response.status_code, response.headers, body, response.is_redirect)


def _read(response: requests.Response, seconds: float, max_bytes: int) -> bytes:
    """The body of a response that was requested as a stream.

    A timeout of `requests` is for each read: whoever sends a byte now and then is never caught by it. Raises NoAnswer
    for a body that is compressed, too long or too slow, and RequestException where the connection breaks.
    """
    ends, pieces, length = time.monotonic() + seconds, list[bytes](), 0
    try:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise NoAnswer("the answer is compressed")
        # As it comes: waiting for a whole piece would wait for whoever drips.
        while piece := response.raw.read1(_PIECE):
            pieces.append(piece)
            length += len(piece)
            if length > max_bytes or time.monotonic() > ends:
                raise NoAnswer(f"the answer is too {'long' if length > max_bytes else 'slow'}")
    except (HTTPError, OSError) as error:
        raise requests.exceptions.ChunkedEncodingError(error) from None
    finally:
        response.close()
    if response.raw.length_remaining:
        raise requests.exceptions.ChunkedEncodingError("ended early")
    return b"".join(pieces)


def _json(response: _Answer) -> dict[str, Any]:
    status = response.status
    if status in _UNAVAILABLE or response.is_redirect:
        raise OperatorUnavailable(f"HTTP {status}", _retry_after(response))
    if status in _REFUSED:
        raise OperatorRefused(f"http-{status}")
    if status >= _FAILED:
        raise NoAnswer(f"HTTP {status}")
    try:
        return mapping.document(response.body)
    except Unreadable:
        raise NoAnswer(f"HTTP {status}, and no JSON object") from None


def verify_standard_webhook(secrets: str, headers: Mapping[str, str], body: bytes) -> str:
    """Checks a message signed by the Standard Webhooks scheme and gives its id.

    `secrets` are separated by commas: any of them is accepted, so that they can be rotated. The time window is five
    minutes either way, and is looked at before anything is computed. Raises BadSignature, for headers too that make no
    sense.
    """
    signed = {name.lower(): value for name, value in headers.items() if name.lower().startswith("webhook-")}
    if sum(map(len, signed.values())) > _MAX_HEADERS:
        raise BadSignature("Malformed signature")
    error: Exception | None = None
    for secret in filter(None, map(str.strip, secrets.split(","))):
        try:
            Webhook(secret).verify(body, signed, json_parse=False)
        except (WebhookVerificationError, ValueError) as caught:  # the library lets bad base64 and UTF-8 out as is
            error = caught
        else:
            return signed["webhook-id"]
    raise BadSignature(str(error) if isinstance(error, WebhookVerificationError) else "Malformed signature")


def _never_reached(error: requests.RequestException) -> bool:
    """Whether the request did not leave: no connection could be made."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _retry_after(response: _Answer) -> float | None:
    """The seconds of a Retry-After header, which may be a number or a date."""
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - clock.now()).total_seconds())
    except (ValueError, TypeError):
        return None
