"""Who may do what, a line per route, read from the routes: `@roles(…)` on each view."""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter

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
    """`all`; `own`: only what belongs to the prescriber or structure that the token names, everything else answers 404;
    of services the name of the only one that may. Empty: everybody, without a token."""
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


def of(app: Flask) -> list[Permission]:
    """An application's permissions, by blueprint; raises RuntimeError where a route does not name its callers."""
    found, silent = [], []
    for rule in app.url_map.iter_rules():
        reach = reach_of(app.view_functions[rule.endpoint])
        if reach is None:
            silent.append(rule.endpoint)
        else:
            methods = (rule.methods or set()) - _UNLISTED
            blueprint = app.blueprints.get(rule.endpoint.rpartition(".")[0])
            about = getattr(blueprint, "description", None) or _PAGES
            found += [Permission(method, openapi_path(rule), reach, about) for method in methods]
    if silent:
        raise RuntimeError(f"These routes name no roles and are not public: {', '.join(sorted(silent))}.")
    return sorted(found, key=attrgetter("about", "path", "method"))


def openapi_path(rule: Rule) -> str:
    """`/v1/grants/<uuid:grant_id>` as OpenAPI writes it: `/v1/grants/{grant_id}`."""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)


def described(permissions: Iterable[Permission]) -> str:
    """A table in Markdown for each blueprint."""
    heads = f"| route | {' | '.join(ROLES)} |\n|{'---|' * (len(ROLES) + 1)}"
    parts = []
    for about, routes in itertools.groupby(permissions, attrgetter("about")):
        lines = [f"| `{route.method} {route.path}` | {' | '.join(route.cells)} |" for route in routes]
        parts.append("\n".join([f"{about}\n\n{heads}", *lines]))
    return "\n\n".join(parts)
