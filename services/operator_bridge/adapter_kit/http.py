"""HTTP for adapters: one kept-alive session, timeouts, OAuth2, and what a failure means.

What matters of a failure is whether the operator may have done what was asked. Not reached, 429 and 503: it did
nothing. 400, 413 and 422: it will not do it. All else, from a timeout to a 500 to an answer that cannot be read:
nobody knows.
"""

import threading
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from standardwebhooks import Webhook, WebhookVerificationError
from urllib3.exceptions import MaxRetryError, NewConnectionError

from services.operator_bridge.adapter_kit import bounded_response
from services.operator_bridge.interface import BadSignature, NoAnswer, OperatorRefused, OperatorUnavailable
from shared.values import clock

_CONNECT_SECONDS = 3.0
# A token is renewed this long before it ends, so that it does not end on the way.
_TOKEN_MARGIN_SECONDS = 10
# Of a message's own headers: an id, an instant, the signatures by some keys. Of thousands, all would be compared.
_MAX_HEADERS = 2048
_UNAVAILABLE = (401, 403, 404, 405, 408, 429, 503)
_REFUSED = (400, 413, 415, 422)
_FAILED = 400
# Of the timeout, which is for each read: so many times is for the whole answer.
_PATIENCE = 3
_MOST_OF_A_TOKEN = 256 * 1024
# Ten million lines have room in a fifth of them, a hundred a page.
_MAX_PAGES = 500_000
_MAX_CURSOR = 2_000
_NOTHING: Mapping[Any, str] = {}


@dataclass(frozen=True)
class _Answer:
    """What came back: whole, and not longer than anything that we have use for."""

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
        """A token that is good now; raises OperatorUnavailable, as nothing was asked for yet."""
        with self._lock:
            if time.monotonic() >= self._ends:
                self._token, seconds = self._ask()
                self._ends = time.monotonic() + seconds - _TOKEN_MARGIN_SECONDS
            return self._token

    def forget(self) -> None:
        """Has the next call ask for a new token."""
        self._ends = 0.0

    def _ask(self) -> tuple[str, float]:
        """A new token and its seconds of life."""
        try:
            response = requests.post(
                self._address,
                data={"grant_type": "client_credentials"},
                auth=self._credentials,
                timeout=(_CONNECT_SECONDS, self._timeout),
                headers=bounded_response.PLAIN,
                allow_redirects=False,
                stream=True,
            )
            body = bounded_response.read(response, _PATIENCE * self._timeout, _MOST_OF_A_TOKEN)
            response.raise_for_status()
            answer = bounded_response.document(body)
            return str(answer["access_token"]), float(answer.get("expires_in", 300))
        except requests.RequestException as error:
            raise OperatorUnavailable(f"no token: {_name(error)}") from None
        except (bounded_response.Unfit, KeyError, TypeError, ValueError, AttributeError):
            raise OperatorUnavailable("no token: the answer makes no sense") from None


class Client:
    """JSON over HTTP with one operator."""

    def __init__(self, address: str, timeout: float, credentials: ClientCredentials | None = None) -> None:
        self._address = address.rstrip("/")
        self._timeout = timeout
        self._credentials = credentials
        self._session = requests.Session()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path; raises OperatorUnavailable, OperatorRefused or NoAnswer."""
        return self._json(self._send("GET", path, params=query))

    def pages(self, path: str, **query: Any) -> Iterator[Any]:
        """The pages of a list, the `next` of each being the `cursor` of the following.

        Raises what `get` raises, and NoAnswer where they go round in circles or on for ever.
        """
        cursor: Any = ""
        seen = set[str]()
        while cursor is not None:
            seen.add(cursor)
            page = self.get(path, **query, cursor=cursor)
            yield page
            cursor = page.get("next") if isinstance(page, dict) else None
            if cursor is not None and not (isinstance(cursor, str) and len(cursor) <= _MAX_CURSOR):
                raise NoAnswer("a page names no next one that can be asked for")
            if cursor in seen or len(seen) >= _MAX_PAGES:
                raise NoAnswer("its pages never end")

    def post(self, path: str, body: Any) -> Any:
        """The JSON that answers a POST; raises OperatorUnavailable, OperatorRefused or NoAnswer."""
        return self._json(self._send("POST", path, json=body))

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

        They mean OperatorUnavailable or OperatorRefused, for that reason, or are answers without JSON. Raises as the
        others do for what is not said.
        """
        response = self._send(method, path, json=body, headers=headers)
        status = response.status
        if status in unavailable:
            raise OperatorUnavailable(unavailable[status], _retry_after(response))
        if status in refused:
            raise OperatorRefused(refused[status])
        return status, None if status in empty else self._json(response)

    def _send(self, method: str, path: str, **options: Any) -> _Answer:
        response = self._once(method, path, **options)
        if response.status == 401 and self._credentials:
            self._credentials.forget()
            response = self._once(method, path, **options)
        return response

    def _once(self, method: str, path: str, **options: Any) -> _Answer:
        headers = {**bounded_response.PLAIN, **options.pop("headers", {})}
        if self._credentials:
            headers["Authorization"] = f"Bearer {self._credentials.token()}"
        timeout = (_CONNECT_SECONDS, self._timeout)
        try:
            response = self._session.request(
                method, self._address + path, timeout=timeout, headers=headers, allow_redirects=False, stream=True,
                **options,
            )  # fmt: skip
            body = bounded_response.read(response, _PATIENCE * self._timeout)
            return _Answer(response.status_code, response.headers, body, response.is_redirect)
        except bounded_response.Unfit as error:
            raise NoAnswer(f"the answer is {error}") from None
        except requests.RequestException as error:
            if _never_reached(error):
                raise OperatorUnavailable(f"not reached: {_name(error)}") from None
            raise NoAnswer(f"no answer: {_name(error)}") from None

    def _json(self, response: _Answer) -> Any:
        status = response.status
        if status in _UNAVAILABLE or response.is_redirect:
            raise OperatorUnavailable(f"HTTP {status}", _retry_after(response))
        if status in _REFUSED:
            raise OperatorRefused(f"http-{status}")
        if status >= _FAILED:
            raise NoAnswer(f"HTTP {status}")
        try:
            return bounded_response.document(response.body)
        except bounded_response.Unfit:
            raise NoAnswer(f"HTTP {status}, and no JSON") from None


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


def _name(error: requests.RequestException) -> str:
    """What went wrong, without the address, the headers or the body that the exception's text may hold."""
    status = error.response.status_code if error.response is not None else None
    return f"HTTP {status}" if status else type(error).__name__
