"""Calling the services as prescribers, tills and the département do: over HTTP, with a token, timed."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from souche.keys import Signer

TIMEOUT = (5.0, 90.0)  # seconds to connect, and to answer
RETRY_STATUS = 503  # nothing was done: the same request, with the same key, may be sent again
RETRIES = 5
RETRY_SECONDS = 0.5


class Unexpected(Exception):
    """A service did not answer as it should have; the message says which and how."""


@dataclass(frozen=True)
class Identity:
    """Who calls: a role, its scope, and the person."""

    role: str
    scope: str | None = None
    subject: str = "demo"


@dataclass
class Calls:
    """The addresses of the services, tokens for everybody, and the clock that measures each request."""

    signer: Signer
    addresses: Mapping[str, str]
    seconds: list[float] = field(default_factory=list)
    unavailable: Counter[str] = field(default_factory=Counter)
    """How many requests of a service were answered that nothing was done, and sent again."""
    _tokens: dict[Identity, str] = field(default_factory=dict)
    _local: threading.local = field(default_factory=threading.local)

    def get(self, service: str, path: str, who: Identity, **query: Any) -> Any:
        """The JSON at a path."""
        return self._request("GET", service, path, who, (200,), params=query)

    def post(
        self,
        service: str,
        path: str,
        who: Identity,
        body: Any = None,
        *,
        key: str | None = None,
        expected: Iterable[int] = (),
    ) -> Any:
        """The JSON that answers a POST of JSON, or of bytes as CSV; `expected` statuses are 2xx by default."""
        headers = {"Idempotency-Key": key} if key else {}
        arguments = (
            {"data": body, "headers": headers | {"Content-Type": "text/csv"}}
            if isinstance(body, bytes)
            else {"json": {} if body is None else body, "headers": headers}
        )
        return self._request("POST", service, path, who, tuple(expected) or (200, 201, 202, 204), **arguments)

    def post_to(self, address: str, body: Mapping[str, Any], *, expected: int) -> Any:
        """POSTs JSON to an address outside, without a token; the JSON that answers, or None."""
        response = self._session.post(address, json=body, timeout=TIMEOUT)
        if response.status_code != expected:
            raise Unexpected(f"POST {address} answered {response.status_code}, not {expected}")
        return response.json() if response.content else None

    def get_from(self, address: str) -> Any:
        """The JSON at an address outside."""
        return self._session.get(address, timeout=TIMEOUT).json()

    def save(self, service: str, path: str, who: Identity, body: Mapping[str, Any], to: Path) -> int:
        """Writes the file that answers a POST of JSON, piece by piece as it comes, and gives its size in bytes."""
        headers = {"Authorization": f"Bearer {self.token(who)}"}
        address = self.addresses[service] + path
        with self._session.post(address, json=body, headers=headers, timeout=TIMEOUT, stream=True) as response:
            if not response.ok:
                raise Unexpected(f"POST {service} {path} answered {response.status_code}{_why(response)}")
            with to.open("wb") as file:
                for piece in response.iter_content(65536):
                    file.write(piece)
        return to.stat().st_size

    def pages(self, service: str, path: str, who: Identity, **query: Any) -> list[Any]:
        """All items of a listing, page after page."""
        items: list[Any] = []
        after = None
        while True:
            page = self.get(service, path, who, **query, **({"after": after} if after else {}))
            items += page["items"]
            after = page.get("next")
            if not after:
                return items

    def token(self, who: Identity) -> str:
        """The token of a caller, made once."""
        if who not in self._tokens:
            self._tokens[who] = self.signer.token(who.role, who.scope, who.subject)
        return self._tokens[who]

    def _request(
        self, method: str, service: str, path: str, who: Identity, expected: tuple[int, ...], **request: Any
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.token(who)}"} | request.pop("headers", {})
        for _attempt in range(RETRIES):
            begin = time.perf_counter()
            response = self._session.request(
                method, self.addresses[service] + path, timeout=TIMEOUT, headers=headers, **request
            )
            self.seconds.append(time.perf_counter() - begin)
            if response.status_code != RETRY_STATUS:
                break
            self.unavailable[service] += 1
            time.sleep(RETRY_SECONDS)
        if response.status_code not in expected:
            raise Unexpected(f"{method} {service} {path} answered {response.status_code}{_why(response)}")
        return response.json() if response.content else None

    @property
    def _session(self) -> requests.Session:
        """One session a thread, so that connections are kept alive."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False  # no proxy stands between two processes of this machine
        session: requests.Session = self._local.session
        return session


def _why(response: requests.Response) -> str:
    """The problem document. Other answers are not repeated, as they may contain codes."""
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return f": {response.text[:1000]}"
    return ""
