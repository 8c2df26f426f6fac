"""`souche reencrypt`: encrypts and digests again under the current keys, while everything runs."""

import time
from collections.abc import Iterator

import click

from services.issuer import key_rotation
from shared.process.runtime import Runtime
from shared.settings.settings import load
from shared.values.encryption import CannotOpen


@click.command()
@click.option("--check", is_flag=True, help="Only count what is left under earlier keys; exit code 1 if there is any.")
@click.option("--again", is_flag=True, help="Publish all digests to the redeemer once more.")
@click.option("--batch", type=click.IntRange(1, 1000), default=1000, show_default=True, help="Rows of a transaction.")
@click.option("--pause", type=click.FloatRange(0, 60), default=0.0, show_default=True, help="Seconds between batches.")
def reencrypt(check: bool, again: bool, batch: int, pause: float) -> None:
    """Move codes and identities to the current keys, the first of each setting, in the issuer's configuration.

    Nothing has to stop for it. Broken off, it goes on where it was. Afterwards the earlier keys can be dropped, once
    the redeemer has read the new digests.
    """
    runtime = Runtime(load("issuer"))
    if check:
        _check(runtime)
        return
    for what in key_rotation.SEALED:
        _count(f"{what.name} encrypted again", key_rotation.reseal(runtime, what, batch), pause)
    _count("people with a new digest", key_rotation.redigest_people(runtime, batch), pause)
    _count("cheques whose new digest was published", key_rotation.publish_digests(runtime, batch, again=again), pause)


def _check(runtime: Runtime) -> None:
    with runtime.transaction() as session:
        found = key_rotation.count_former(session, runtime.settings.keys)
    for name, number in found.items():
        click.echo(f"{name} under an earlier key: {number}")
    if any(found.values()):
        raise click.exceptions.Exit(1)


def _count(what: str, batches: Iterator[int], pause: float) -> None:
    total = 0
    try:
        for moved in batches:
            total += moved
            time.sleep(pause)
    except CannotOpen as error:
        raise click.ClickException(f"{what}: {total}, and then one that does not open. {error}") from None
    click.echo(f"{what}: {total}")
