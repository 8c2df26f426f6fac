"""Calling another of the three services: its address, our service token, one kept-alive session, short timeouts."""

from http import HTTPStatus
from typing import Any

import requests

from shared.observability import tracing
from shared.observability.logs import REQUEST_ID_HEADER, current_request_id

# Seconds to connect, and to answer: a peer that is down must not block a worker.
_TIMEOUT = (2.0, 20.0)


class PeerUnavailable(Exception):
    """The other service did not answer, or with an error; the work is taken up again later."""


class PeerRefusesToken(PeerUnavailable):
    """The other service refuses our service token: nothing is taken up until an administrator renews it."""


class Peer:
    """One of the other services."""

    def __init__(self, name: str, address: str, token: str) -> None:
        self.name = name
        self._address = address
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The JSON object at a path; raises PeerUnavailable, of it PeerRefusesToken."""
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """The JSON object that answers a POST of JSON; raises PeerUnavailable, of it PeerRefusesToken."""
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        headers = {REQUEST_ID_HEADER: current_request_id() or ""}
        try:
            with tracing.among_us():
                response = self._session.request(
                    method, self._address + path, timeout=_TIMEOUT, headers=headers, allow_redirects=False, **options
                )
            if response.status_code == HTTPStatus.UNAUTHORIZED:
                raise PeerRefusesToken(f"{self.name} refuses our service token (401): make a new one, `souche keys`")
            response.raise_for_status()
            found: dict[str, Any] = response.json()
        except requests.RequestException as error:
            raise PeerUnavailable(f"{self.name} did not answer {method} {path}: {type(error).__name__}") from error
        return found
