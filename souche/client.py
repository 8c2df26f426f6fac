"""Calling the services' public API from the command line."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
import requests

from shared.settings.settings import ConfigurationError, with_files
from souche.keys import Signer

TIMEOUT = (3.0, 120.0)  # seconds to connect, and to answer: an import takes its time
TOKEN_LIFETIME = timedelta(minutes=10)
_PART_BYTES = 64 * 1024
_PAGE_SIZE = 200


class Refused(click.ClickException):
    """A service refused a request; `problem` is the problem document, or empty."""

    def __init__(self, response: requests.Response) -> None:
        try:
            self.problem: dict[str, Any] = response.json()
        except requests.JSONDecodeError:
            self.problem = {}
        lines = [f"{response.url} answered {response.status_code}"]
        if self.problem:
            lines = [f"{self.problem.get('title', response.reason)}: {self.problem.get('detail', '')}"]
        lines += [f"  {name}: {reason}" for name, reason in (self.problem.get("errors") or {}).items()]
        super().__init__("\n".join(lines))


class Client:
    """A client of one service; every refusal ends the command with its title and detail."""

    def __init__(self, service: str, role: str = "admin") -> None:
        environ = with_files(os.environ)
        setting = f"{service.upper()}_URL"
        if setting not in environ:
            raise ConfigurationError(f"{setting} is not set: expected the address of the {service}, http://host:port.")
        self._address = environ[setting].rstrip("/")
        self._session = requests.Session()
        token = environ.get("SOUCHE_TOKEN") or Signer.read(environ).token(
            role, subject=f"cli:{getpass.getuser()}", lifetime=TOKEN_LIFETIME
        )
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: object) -> Any:
        """The JSON at a path."""
        return self._json("GET", path, params={name: value for name, value in query.items() if value is not None})

    def pages(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """All items of a listing, fetched page by page."""
        after = None
        while True:
            page = self.get(path, **query, after=after, limit=_PAGE_SIZE)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def post(self, path: str, **request: Any) -> Any:
        """The JSON that answers a POST; `request` are arguments of `requests`."""
        return self._json("POST", path, **request)

    def delete(self, path: str) -> Any:
        """The JSON that answers a DELETE."""
        return self._json("DELETE", path)

    def download(self, path: str) -> bytes:
        """The file at a path."""
        return self._request("GET", path).content

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """The bytes at a path, as they come."""
        with self._request("GET", path, stream=True) as response:
            yield response.iter_content(_PART_BYTES)

    def _json(self, method: str, path: str, **request: Any) -> Any:
        response = self._request(method, path, **request)
        return response.json() if response.content else {}

    def _request(self, method: str, path: str, **request: Any) -> requests.Response:
        try:
            response = self._session.request(method, self._address + path, timeout=TIMEOUT, **request)
        except requests.RequestException as error:
            raise click.ClickException(f"{self._address} did not answer: {type(error).__name__}") from None
        if not response.ok:
            raise Refused(response)
        return response
