"""Who is calling and what for: JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 8037), a role and a scope.

A token names the services that it is for (`aud`), and may be revoked by its id (`jti`), by its holder or by its scope.
Refusals are answered as RFC 6750 requires. Every route names its roles with `@roles(…)`, or is `@public` or
`@uncounted`: an application with another does not start.
"""

import functools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from flask import current_app, g, request

from shared.limiting import rate_limit, request_limits
from shared.problems import Forbidden, NotFound, Unauthenticated
from shared.settings.settings import SERVICES, Settings
from shared.values import clock
from shared.values.ids import new_id

ISSUER = "souche"
_LEEWAY_SECONDS = 30
_MARK = "__souche_reach__"
_LONGEST_SUBJECT = 600
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Role(StrEnum):
    """What a caller is; `prescriber` and `structure` tokens carry the id of theirs as scope."""

    ADMIN = "admin"
    PRESCRIBER = "prescriber"
    STRUCTURE = "structure"
    FINANCE = "finance"
    OPERATIONS = "operations"
    SERVICE = "service"


SCOPED = frozenset({Role.PRESCRIBER, Role.STRUCTURE})
ALL, OWN = "all", "own"


@dataclass(frozen=True)
class Caller:
    """The holder of a token."""

    subject: str
    role: Role
    scope: UUID | None
    token_id: str = field(default="", compare=False)
    issued_at: float = field(default=0.0, compare=False)
    """Seconds since 1970, UTC."""

    def __str__(self) -> str:
        return f"{self.role}:{self.scope or '-'}:{self.subject}"

    def require(self, owner: UUID) -> None:
        """Raises NotFound where a scoped caller requests what belongs to another, as if it did not exist."""
        if self.role in SCOPED and self.scope != owner:
            raise NotFound("There is no such thing within your scope.")

    @property
    def own(self) -> UUID:
        """The scope of a scoped caller; raises Forbidden where the token has none."""
        if self.scope is None:
            raise Forbidden("The token names no prescriber or structure as its scope.")
        return self.scope


def issue(
    key_id: str,
    key: bytes,
    *,
    role: Role,
    subject: str,
    scope: UUID | None = None,
    lifetime: timedelta = timedelta(hours=12),
    audience: Collection[str] = SERVICES,
) -> str:
    """Makes a token for these services with a raw Ed25519 private key. Scoped roles need a scope, the others take none.

    `iat` is in fractions of a second, so that a token issued right after a revocation is good.
    """
    if (scope is not None) != (role in SCOPED):
        raise ValueError(f"A {role} token {'needs a' if role in SCOPED else 'takes no'} scope.")
    if not _fit(subject):
        raise ValueError(f"A subject is a line of 1 to {_LONGEST_SUBJECT} characters.")
    now = clock.now()
    claims: dict[str, Any] = {"iss": ISSUER, "aud": list(audience), "sub": subject, "role": role.value}
    claims |= {"iat": now.timestamp(), "exp": now + lifetime, "jti": str(new_id())}
    claims |= {"scope": str(scope)} if scope else {}
    headers = {"kid": key_id, "typ": "at+jwt"}
    return jwt.encode(claims, Ed25519PrivateKey.from_private_bytes(key), algorithm="EdDSA", headers=headers)


def _fit(subject: str) -> bool:
    """Whether logs, the audit trail and stored answers can contain this subject."""
    return 0 < len(subject) <= _LONGEST_SUBJECT and subject.isprintable()


def own_key_id(service: str, key_id: str) -> str:
    """How a token names a key of the service's own, apart from those of TOKEN_PUBLIC_KEYS."""
    return f"{service}/{key_id}"


def accepted_keys(settings: Settings) -> dict[str, bytes]:
    """The public keys that a service accepts by id: those of its settings, and those of its own signing keys."""
    accepted = dict(settings.token_public_keys)
    for key_id, key in settings.signing_keys.items():
        public_key = Ed25519PrivateKey.from_private_bytes(key).public_key()
        accepted[own_key_id(settings.service, key_id)] = public_key.public_bytes_raw()
    return accepted


def ends_at(token: str) -> float:
    """When a token of ours ends, in seconds since 1970; its signature is not looked at."""
    return float(jwt.decode(token, options={"verify_signature": False})["exp"])


class Verifier:
    """Verifies tokens for one service against the public keys that are accepted now."""

    def __init__(
        self, public_keys: Mapping[str, bytes], audience: str, is_revoked: Callable[[Caller], bool] = lambda _: False
    ) -> None:
        self._audience, self._is_revoked = audience, is_revoked
        self._keys = {key_id: Ed25519PublicKey.from_public_bytes(key) for key_id, key in public_keys.items()}
        # A till sends the same token thousands of times: its signature is checked once, the expiry every time.
        self._verified = functools.lru_cache(maxsize=4096)(self._verify)

    def caller(self, token: str) -> Caller:
        """The caller whom a token names; raises Unauthenticated."""
        try:
            caller, expires = self._verified(token)
        except jwt.ExpiredSignatureError:
            raise _invalid("The token has expired.") from None
        except jwt.InvalidAudienceError:
            raise _invalid("The token is for another service.") from None
        except (jwt.InvalidTokenError, ValueError, KeyError, RecursionError):  # a header is JSON, and may nest
            raise _invalid("The token is not valid.") from None
        if clock.now().timestamp() > expires + _LEEWAY_SECONDS:
            raise _invalid("The token has expired.")
        if self._is_revoked(caller):
            raise _invalid("The token was revoked.")
        return caller

    def _verify(self, token: str) -> tuple[Caller, float]:
        key = self._keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token, key, algorithms=["EdDSA"], issuer=ISSUER, audience=self._audience, leeway=_LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "sub", "aud", "jti", "role"]},
        )  # fmt: skip
        role, scope = Role(claims["role"]), claims.get("scope")
        if (scope is not None) != (role in SCOPED):
            raise ValueError("role and scope do not go together")
        if not _fit(claims["sub"]):
            raise ValueError("nobody can write down such a subject")
        if not math.isfinite(ends := float(claims["exp"])):
            raise ValueError("it never ends")
        return Caller(claims["sub"], role, UUID(scope) if scope else None, claims["jti"], float(claims["iat"])), ends


def _invalid(detail: str) -> Unauthenticated:
    challenge = f'Bearer error="invalid_token", error_description="{detail}"'
    return Unauthenticated(detail, headers={"WWW-Authenticate": challenge})


def roles(
    *everything: str, own: str | None = None, service: str | None = None
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Opens a route to the callers of these roles, and to nobody else.

    The positional roles reach everything. `own` is a scoped role that reaches only what belongs to its prescriber or
    structure, which the view enforces with `Caller.require` or `Caller.own`. `service` is the only service that may
    call. Raises ValueError where this names no role, or one twice.
    """
    reach = _reach(everything, own, service)

    def decorate(view: Callable[_P, _R]) -> Callable[_P, _R]:
        max_bytes = request_limits.body_limit_of(view)

        @functools.wraps(view)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            g.caller = _authenticate()
            if g.caller.role is not Role.SERVICE:
                rate_limit.of_caller(str(g.caller))
            if g.caller.role not in reach:
                accepted = sorted(reach)
                challenge = f'Bearer error="insufficient_scope", scope="{" ".join(accepted)}"'
                detail = f"This takes a token of role {', '.join(accepted)}."
                raise Forbidden(detail, headers={"WWW-Authenticate": challenge})
            if service and g.caller.role is Role.SERVICE and g.caller.subject != service:
                raise Forbidden(f"This is for the service {service} alone.")
            # Before anything reads the body, and after the caller is known.
            request_limits.check_request(str(g.caller), max_bytes)
            return view(*args, **kwargs)

        return _marked(guarded, reach)

    return decorate


def _reach(everything: Collection[str], own: str | None, service: str | None) -> dict[Role, str]:
    named = [*((role, ALL) for role in everything), *([(own, OWN)] if own else ())]
    named += [(Role.SERVICE, service)] if service else []
    reach = {Role(role): extent for role, extent in named}
    if not reach or len(reach) < len(named):
        raise ValueError("A route names at least one role, and each once.")
    if own and own not in SCOPED:
        raise ValueError(f"A {own} has nothing of its own.")
    if service and service not in SERVICES:
        raise ValueError(f"There is no service {service}.")
    return reach


def public(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """Opens a route to everybody, within the rate limit of an address."""

    @functools.wraps(view)
    def opened(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        rate_limit.of_stranger()
        return view(*args, **kwargs)

    return _marked(opened, {})


def uncounted(view: Callable[_P, _R]) -> Callable[_P, _R]:
    """Opens a route to everybody, however often: its view limits requests itself, or has to answer always."""
    return _marked(view, {})


def _marked(view: Callable[_P, _R], reach: Mapping[Role, str]) -> Callable[_P, _R]:
    """Writes on the view itself who may call it; `functools.wraps` carries the mark through other decorators."""
    vars(view)[_MARK] = reach
    return view


def reach_of(view: Any) -> Mapping[Role, str] | None:
    """How far a view reaches for each role that may call it: empty if public, None if it declares nothing."""
    return cast(Mapping[Role, str] | None, getattr(view, _MARK, None))


def caller() -> Caller:
    """The caller of the current request."""
    return cast(Caller, g.caller)


def _authenticate() -> Caller:
    try:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("Send `Authorization: Bearer <token>`.", headers={"WWW-Authenticate": "Bearer"})
        verifier: Verifier = current_app.extensions["souche"].verifier
        return verifier.caller(token.strip())
    except Unauthenticated:
        rate_limit.of_stranger()
        raise
