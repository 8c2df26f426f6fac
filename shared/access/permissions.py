"""Who may do what, a line per route, read from the routes: `@roles(…)` on each view."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flask import Flask
from werkzeug.routing import Rule

from shared.access.tokens import Role, reach_of

EVERYBODY, _NOBODY = "everybody", "-"
ROLES = (Role.ADMIN, Role.FINANCE, Role.OPERATIONS, Role.PRESCRIBER, Role.STRUCTURE, Role.SERVICE)
_UNLISTED = frozenset({"HEAD", "OPTIONS"})
_PAGES = "Pages, documents and probes: they say what there is, not what is in it."


@dataclass(frozen=True)
class Permission:
    """A route, and how far it reaches for each role that may call it."""

    method: str
    path: str
    """As OpenAPI writes it: `/v1/grants/{grant_id}`."""
    reach: Mapping[Role, str]
    """`all`; `own`: only what belongs to the prescriber or structure that the token names, and nothing else exists for
    it; of services also the name of the one that may. Empty: everybody, without a token."""
    about: str = ""
    """What its blueprint is about."""

    @property
    def route(self) -> tuple[str, str]:
        """The method and the path, which identify the route."""
        return self.method, self.path

    @property
    def cells(self) -> tuple[str, ...]:
        """The reach for each of `ROLES`, as text."""
        return tuple(self.reach.get(role, _NOBODY) if self.reach else EVERYBODY for role in ROLES)

    @property
    def is_public(self) -> bool:
        """Whether it needs no token."""
        return not self.reach


def of(app: Flask) -> list[Permission]:
    """The permissions of an application, blueprint by blueprint.

    Raises RuntimeError where a route names neither roles nor that it is public.
    """
    found, silent = [], []
    for rule in app.url_map.iter_rules():
        reach = reach_of(app.view_functions[rule.endpoint])
        if reach is None:
            silent.append(rule.endpoint)
        else:
            methods = (rule.methods or set()) - _UNLISTED
            found += [Permission(method, openapi_path(rule), reach, _about(app, rule)) for method in methods]
    if silent:
        raise RuntimeError(f"These routes name no roles and are not public: {', '.join(sorted(silent))}.")
    return sorted(found, key=lambda permission: (permission.about, permission.path, permission.method))


def _about(app: Flask, rule: Rule) -> str:
    blueprint = app.blueprints.get(rule.endpoint.rpartition(".")[0])
    return getattr(blueprint, "description", None) or _PAGES


def openapi_path(rule: Rule) -> str:
    """`/v1/grants/<uuid:grant_id>` as OpenAPI writes it: `/v1/grants/{grant_id}`."""
    pieces = []
    for piece in rule.rule.split("/"):
        name = piece.strip("<>").rpartition(":")[2]
        pieces.append(f"{{{name}}}" if piece.startswith("<") else piece)
    return "/".join(pieces)


def described(permissions: Iterable[Permission]) -> str:
    """A table in Markdown for each blueprint."""
    heads = f"| route | {' | '.join(ROLES)} |\n|{'---|' * (len(ROLES) + 1)}"
    parts: list[str] = []
    about = ""
    for permission in permissions:
        if permission.about != about:
            about = permission.about
            parts.append(f"\n{about}\n\n{heads}")
        parts.append(f"| `{permission.method} {permission.path}` | {' | '.join(permission.cells)} |")
    return "\n".join(parts).lstrip()
