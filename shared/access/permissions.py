"""Who may do what: a line per route, in one table that a person can read, and that the routes cannot drift from.

Each service has its table in `permissions.py`; what all three have stands here. `shared.app.build` refuses to start
where a route has no line, a line no route, or a view opens to other roles than its line says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flask import Flask
from werkzeug.routing import Rule

from shared.access.tokens import SCOPED, Role, allowed_roles
from shared.settings.settings import SERVICES

ALL, OWN, EVERYBODY, _NONE = "all", "own", "everybody", "-"
_ROLES = (Role.ADMIN, Role.FINANCE, Role.OPERATIONS, Role.PRESCRIBER, Role.STRUCTURE, Role.SERVICE)
_UNLISTED = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Permission:
    """A line: a route, and how far it reaches for each role that may call it."""

    method: str
    path: str
    """As OpenAPI writes it: `/v1/grants/{grant_id}`."""
    reach: Mapping[Role, str]
    """`all`; `own`: only what belongs to the prescriber or structure that the token names, and nothing else exists for
    it; of services also the name of the one that may. Empty: everybody, without a token."""
    about: str
    """Whose things these are, or why everybody may."""

    @property
    def route(self) -> tuple[str, str]:
        """What identifies the line."""
        return self.method, self.path

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands under each role."""
        return tuple(self.reach.get(role, _NONE) if self.reach else EVERYBODY for role in _ROLES)

    @property
    def is_public(self) -> bool:
        """Whether no token is asked for."""
        return not self.reach


def table(text: str) -> tuple[Permission, ...]:
    """Reads a table: `method path` and a word for each role, below `#` lines that say what they are about.

    `##` heads the columns. Raises ValueError naming the line that is wrong.
    """
    found: list[Permission] = []
    about: list[str] = []
    heading = False
    for line in text.strip().splitlines():
        if line.startswith("# "):
            about = [*about, line[2:]] if heading else [line[2:]]
        elif not line.startswith("##"):
            found.append(_permission(line, " ".join(about)))
        heading = line.startswith("# ")
    routes = [one.route for one in found]
    if twice := {route for route in routes if routes.count(route) > 1}:
        raise ValueError(f"These stand there twice: {sorted(twice)}.")
    return tuple(found)


def _permission(line: str, about: str) -> Permission:
    method, path, *cells = line.split()
    if cells == [EVERYBODY]:
        return Permission(method, path, {}, about)
    if len(cells) != len(_ROLES):
        raise ValueError(f"{line!r}: a word for each of {', '.join(_ROLES)} is expected, or {EVERYBODY!r}.")
    reach = {role: cell for role, cell in zip(_ROLES, cells, strict=True) if cell != _NONE}
    if wrong := {cell for role, cell in reach.items() if cell not in _words(role)}:
        raise ValueError(f"{line!r}: {', '.join(sorted(wrong))} is not known there.")
    if not reach:
        raise ValueError(f"{line!r}: nobody may call it.")
    return Permission(method, path, reach, about)


def _words(role: Role) -> tuple[str, ...]:
    if role is Role.SERVICE:
        return ALL, *SERVICES
    return (ALL, OWN) if role in SCOPED else (ALL,)


# What every service has. A scoped role's `all` would be a catalogue's: here there is none.
COMMON = table("""
##                                                       admin finance operations prescriber structure service
# The pages and the document say what there is, not what is in it; the probes say that the service is up.
GET    /                                                 everybody
GET    /docs/                                            everybody
GET    /docs/{path}                                      everybody
GET    /static/{filename}                                everybody
GET    /openapi.json                                     everybody
GET    /healthz                                          everybody
GET    /readyz                                           everybody
# The key to this door is a client's secret, or what an OpenID Connect provider signed.
POST   /v1/oauth/token                                   everybody
# Programs and people who are let in, and what was taken back from them.
POST   /v1/oauth/clients                                 all   -       -          -          -         -
GET    /v1/oauth/clients                                 all   -       -          -          -         -
GET    /v1/oauth/clients/{client_id}                     all   -       -          -          -         -
POST   /v1/oauth/clients/{client_id}/secrets             all   -       -          -          -         -
DELETE /v1/oauth/clients/{client_id}/secrets/{secret_id} all   -       -          -          -         -
POST   /v1/oauth/clients/{client_id}/suspension          all   -       -          -          -         -
DELETE /v1/oauth/clients/{client_id}/suspension          all   -       -          -          -         -
POST   /v1/memberships                                   all   -       -          -          -         -
GET    /v1/memberships                                   all   -       -          -          -         -
DELETE /v1/memberships/{membership_id}                   all   -       -          -          -         -
POST   /v1/revocations                                   all   -       -          -          -         -
GET    /v1/revocations                                   all   -       all        -          -         -
# The audit trail tells what everybody did.
GET    /v1/audit                                         all   -       -          -          -         -
GET    /v1/audit/export                                  all   -       -          -          -         -
# What the services tell each other, and how far they have read.
GET    /v1/events                                        -     -       -          -          -         all
GET    /v1/events/reading                                all   -       all        -          -         all
GET    /metrics                                          all   -       all        -          -         all
""")


def check(app: Flask, permissions: Sequence[Permission]) -> None:
    """Raises RuntimeError where the routes of an application and its table differ, saying how."""
    said = {one.route: frozenset(one.reach) for one in permissions}
    done = dict(_routes(app))
    faults = [f"{method} {path} has no line" for method, path in sorted(done.keys() - said.keys())]
    faults += [f"there is no route {method} {path}" for method, path in sorted(said.keys() - done.keys())]
    for route in sorted(done.keys() & said.keys()):
        if done[route] != said[route]:
            faults.append(f"{' '.join(route)} opens to {_listed(done[route])}, its line to {_listed(said[route])}")
    if faults:
        raise RuntimeError(f"The routes and the table of permissions.py differ: {'; '.join(faults)}.")


def _routes(app: Flask) -> Iterator[tuple[tuple[str, str], frozenset[Role]]]:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - _UNLISTED:
            yield (method, openapi_path(rule)), allowed_roles(app.view_functions[rule.endpoint]) or frozenset()


def _listed(roles: frozenset[Role]) -> str:
    return ", ".join(sorted(roles)) or EVERYBODY


def openapi_path(rule: Rule) -> str:
    """`/v1/grants/<uuid:grant_id>` as OpenAPI writes it: `/v1/grants/{grant_id}`."""
    pieces = []
    for piece in rule.rule.split("/"):
        name = piece.strip("<>").rpartition(":")[2]
        pieces.append(f"{{{name}}}" if piece.startswith("<") else piece)
    return "/".join(pieces)


def described(permissions: Sequence[Permission]) -> str:
    """A table in Markdown, headed by what its lines are about."""
    heads = f"| route | {' | '.join(_ROLES)} |\n|{'---|' * (len(_ROLES) + 1)}"
    parts: list[str] = []
    about = ""
    for one in permissions:
        if one.about != about:
            about = one.about
            parts.append(f"\n{about}\n\n{heads}")
        parts.append(f"| `{one.method} {one.path}` | {' | '.join(one.cells)} |")
    return "\n".join(parts).lstrip()
