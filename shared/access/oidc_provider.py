"""The OpenID Connect provider by which people log in: ProConnect, or any with the same claims.

What it signed about a person is verified with the keys that it publishes (OpenID Connect Discovery, RFC 7517): an ID
token, or the userinfo answer, which ProConnect signs too and in which it names the SIRET. `sub` is unique only together
with the identity provider behind it, `idp_id`.
"""

import json
import re
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.problems import Problem, Unavailable
from shared.settings.settings import Settings

_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
_LEEWAY_SECONDS = 30
_LONGEST_SECONDS = 3600  # an older statement is not accepted, whatever its own expiry is
_KEYS_SECONDS = 600.0
_AGAIN_SECONDS = 10.0  # the least time between two look-ups of a key that is not there
_FEWEST_BITS = 2048
_MAX_BYTES = 256 * 1024
_TIMEOUT = (2.0, 5.0)


class NotAccepted(Problem, slug="not-accepted", title="The provider's token is not accepted"):
    """What was presented is not a statement of our provider about somebody who logs in here, now."""


@dataclass(frozen=True)
class Person:
    """A person who logged in: their identity provider, and the establishment that they work for."""

    provider: str
    subject: str
    siret: str | None
    logged_in_at: datetime

    def __str__(self) -> str:
        return f"{self.provider}|{self.subject}"


class Provider:
    """One provider; its keys are kept and read again every few minutes."""

    def __init__(
        self, issuer: str, client_ids: tuple[str, ...], levels: Collection[str] = (), methods: Collection[str] = ()
    ) -> None:
        self._issuer, self._client_ids = issuer, client_ids
        self._levels, self._methods = frozenset(levels), frozenset(methods)
        self._lock = threading.Lock()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")

    @classmethod
    def of(cls, settings: Settings) -> "Provider":
        """The provider that the settings name."""
        return cls(settings.oidc_issuer, settings.oidc_client_ids, settings.oidc_acr, settings.oidc_amr)

    def person(self, token: str, id_token: str = "") -> Person:
        """Who a signed statement is about; raises NotAccepted, or Unavailable where its keys cannot be had.

        The strength of the login is read from the statement, or from the ID token of the same person beside it.
        """
        claims = self._claims(token)
        login = self._claims(id_token) if id_token else claims
        if any(claims.get(name) != login.get(name) for name in ("sub", "idp_id") if name in login):
            raise NotAccepted("The ID token is about somebody else.")
        self._require_strength(login)
        logged_in_at = datetime.fromtimestamp(min(claims["iat"], login["iat"]), UTC)
        siret = str(claims.get("siret") or "").replace(" ", "")
        provider = str(claims.get("idp_id", self._issuer))
        return Person(provider, str(claims["sub"]), siret if re.fullmatch(r"\d{14}", siret) else None, logged_in_at)

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            claims = self._verified(token, self._key(str(header.get("kid", ""))))
            claims["iat"] = datetime.fromtimestamp(float(claims["iat"]), UTC).timestamp()
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise NotAccepted(f"The token is not accepted: {type(error).__name__}.") from None
        if time.time() - claims["iat"] > _LONGEST_SECONDS:
            raise NotAccepted("The login is too long ago: log in again.")
        return claims

    def _require_strength(self, login: Mapping[str, Any]) -> None:
        """The level (`acr`) is one of those that are enough, and one of the methods (`amr`) at least was used."""
        methods = login.get("amr")
        used = {str(method) for method in methods} if isinstance(methods, list) else set()
        if self._levels and str(login.get("acr")) not in self._levels:
            raise NotAccepted(f"The login is not strong enough: `acr` has to be {' or '.join(sorted(self._levels))}.")
        if self._methods and not used & self._methods:
            raise NotAccepted(
                f"The login is not strong enough: `amr` has to name {' or '.join(sorted(self._methods))}."
            )

    def _verified(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token, key, algorithms=[key.algorithm_name], audience=self._client_ids, leeway=_LEEWAY_SECONDS,
            issuer=(self._issuer, f"{self._issuer}/"), options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )  # fmt: skip
        named = (claims["sub"], str(claims.get("idp_id", "x")))
        if any(not 0 < len(name) <= 255 or not name.isprintable() for name in named):
            raise jwt.InvalidTokenError
        return claims

    def _key(self, key_id: str) -> jwt.PyJWK:
        """The provider's key of that id, algorithm included: a token does not choose how it is verified."""
        if key_id not in self._keys or time.monotonic() - self._read_at > _KEYS_SECONDS:
            with self._lock:
                self._read_keys(key_id)
        if key_id not in self._keys:
            raise jwt.InvalidKeyError
        return self._keys[key_id]

    def _read_keys(self, key_id: str) -> None:
        now = time.monotonic()
        fresh = now - self._read_at <= _KEYS_SECONDS and key_id in self._keys
        if fresh or now - self._tried_at < _AGAIN_SECONDS:
            return
        self._tried_at = now
        try:
            found = _get(f"{self._issuer}/.well-known/openid-configuration")
            if str(found["issuer"]).rstrip("/") != self._issuer:
                raise ValueError("the provider calls itself otherwise (OpenID Connect Discovery, section 4.3)")
            address = str(found["jwks_uri"])
            if urlsplit(address).scheme != urlsplit(self._issuer).scheme:
                raise ValueError("the provider's keys are at another kind of address")
            keys = _get(address)["keys"]
            self._keys = {str(key.get("kid", "")): jwk for key in keys if (jwk := _strong(key))}
            self._read_at = now
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
            if not self._keys:
                raise Unavailable("The provider does not answer.", error="temporarily_unavailable") from None


def _get(address: str) -> Any:
    with requests.get(address, timeout=_TIMEOUT, allow_redirects=False, stream=True) as response:
        response.raise_for_status()
        body = response.raw.read(_MAX_BYTES + 1, decode_content=True)
    if len(body) > _MAX_BYTES:
        raise ValueError("too long")
    return json.loads(body)


def _strong(key: Mapping[str, Any]) -> jwt.PyJWK | None:
    """A key to verify signatures with, None for one that is for something else or too weak."""
    try:
        found = jwt.PyJWK(dict(key))
    except jwt.PyJWKError:
        return None
    short = isinstance(found.key, RSAPublicKey) and found.key.key_size < _FEWEST_BITS
    usable = key.get("use", "sig") == "sig" and found.algorithm_name in _ALGORITHMS
    return found if usable and not short else None
