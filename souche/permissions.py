"""`souche permissions`: who may do what, route by route, as the services themselves hold it."""

import importlib

import click

from shared.access.permissions import COMMON, Permission, described
from shared.settings.settings import SERVICES

_HEAD = """# Who may do what

Every route of the three services, as `souche permissions` prints them. The tables are in `permissions.py` of each
service and in `shared/access/permissions.py`; a service does not start where they and its routes differ, and
`tests/permissions/` tries every line with every role, and every `own` with what belongs to somebody else.

* `all`: whatever there is.
* `own`: only what belongs to the prescriber or structure that the token names. The rest does not exist for it: lists
  leave it out, and whoever names it gets 404, whether it is there or not.
* `-`: refused (403). `everybody`: no token is needed. The name of a service: that service and no other."""


def table_of(service: str) -> tuple[Permission, ...]:
    """The table of a service's own routes."""
    found: tuple[Permission, ...] = importlib.import_module(f"services.{service}.permissions").PERMISSIONS
    return found


def page() -> str:
    """The tables of all services, in Markdown."""
    parts = [_HEAD, "## Every service", described(COMMON)]
    for service in SERVICES:
        parts += [f"## {service.replace('_', ' ').capitalize()}", described(table_of(service))]
    return "\n\n".join(parts) + "\n"


@click.command()
def permissions() -> None:
    """Print who may do what, route by route, in Markdown."""
    click.echo(page(), nl=False)
