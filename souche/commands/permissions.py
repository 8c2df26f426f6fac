"""`souche permissions`: who may do what, route by route, as the routes themselves say it."""

import importlib

import click

from shared.access import permissions as access
from shared.access.permissions import Permission
from shared.http.app import with_routes
from shared.settings.settings import SERVICES

_HEAD = """# Who may do what

Every route of the three services, as `souche permissions` prints them from what `@roles(…)` says on each view. A
service does not start where a route says nothing. A test compares this page with the routes, and `tests/permissions/`
tries every line of it with every role, and every `own` with what belongs to somebody else.

* `all`: whatever there is.
* `own`: only what belongs to the prescriber or structure that the token names. The rest does not exist for it: lists
  leave it out, and whoever names it gets 404, whether it is there or not.
* `-`: refused (403). `everybody`: no token is needed. The name of a service: that service and no other."""


def of_service(service: str) -> list[Permission]:
    """The permissions of all routes of a service."""
    return access.of(with_routes(service, importlib.import_module(f"services.{service}").BLUEPRINTS))


def page() -> str:
    """The permissions of all services, in Markdown: first what all three have, then what is of each alone."""
    tables = {service: of_service(service) for service in SERVICES}
    common = [line for line in tables[SERVICES[0]] if all(line in table for table in tables.values())]
    parts = [_HEAD, "## Every service", access.described(common)]
    for service, table in tables.items():
        own = [line for line in table if line not in common]
        parts += [f"## {service.replace('_', ' ').capitalize()}", access.described(own)]
    return "\n\n".join(parts) + "\n"


@click.command()
def permissions() -> None:
    """Print who may do what, route by route, in Markdown."""
    click.echo(page(), nl=False)
