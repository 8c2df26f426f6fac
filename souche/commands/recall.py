"""`souche recall`: recovers what a restored log has lost; every web server and worker does so before its work."""

import math
from pkgutil import resolve_name

import click

from shared.eventlog.peer_client import PeerUnavailable
from shared.observability import logs
from shared.process import recovery
from shared.process.recovery import TakeIn
from shared.process.runtime import Runtime
from shared.settings.settings import SERVICES, Settings, load

_HANDLERS = {
    "issuer": "services.issuer.inbox:HANDLERS",
    "redeemer": "services.redeemer.inbox:HANDLERS",
    "operator_bridge": "services.operator_bridge.inbound.consuming:HANDLERS",
}

# What is recovered from the other services. Only the issuer has its grants: `souche verify` names those that are lost.
_TAKE_IN = {
    "redeemer": "services.redeemer.inbox:take_in",
    "operator_bridge": "services.operator_bridge.contracts.recovery:take_in",
}

# How long a service waits for the others. If all three were restored, each would wait for the two that wait for it; so
# the one alone that must not begin without them waits for ever: the redeemer, which says what is spent.
_PATIENCE_SECONDS = {"issuer": 0.0, "operator_bridge": 20.0, "redeemer": math.inf}


@click.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.option(
    "--without", multiple=True, type=click.Choice(SERVICES), help="A service that is gone for good: it is left out."
)
def recall(service: str, without: tuple[str, ...]) -> None:
    """Recover from the other services what SERVICE lost, whose database was restored from a backup.

    `souche serve` and `souche worker` do the same before they begin; the redeemer's wait until the others answer.
    """
    settings = load(service)
    logs.configure(service, settings.log_level)
    runtime = Runtime(settings)
    try:
        restored = recovery.recall(runtime, resolve_name(_HANDLERS[service]), _take_in(service), without)
    except PeerUnavailable as error:
        raise click.ClickException(f"{error}. Start it, or leave it out for good: --without.") from None
    finally:
        runtime.engine.dispose()
    click.echo(f"{service}: {'recovered from the other services' if restored else 'its log was not restored'}")


def before_work(settings: Settings) -> None:
    """Returns when the log of a service is complete; uses connections that no child process inherits."""
    logs.configure(settings.service, settings.log_level)
    runtime, patience = Runtime(settings), _PATIENCE_SECONDS[settings.service]
    try:
        recovery.before_work(runtime, resolve_name(_HANDLERS[settings.service]), _take_in(settings.service), patience)
    finally:
        runtime.engine.dispose()


def _take_in(service: str) -> TakeIn | None:
    found: TakeIn | None = resolve_name(_TAKE_IN[service]) if service in _TAKE_IN else None
    return found
