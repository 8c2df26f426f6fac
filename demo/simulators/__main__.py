"""A simulated operator in a container of its own.

    python -m demo.simulators settings docaposte > operators.env
    python -m demo.simulators serve

The first makes credentials and prints what the operator bridge has to know, and which operator is played how; the
second, started with that as its environment, plays it.
"""

import importlib
import os
import shlex
import sys

import click

PORT = 9000
ADDRESS = f"http://simulated-operator:{PORT}"
BRIDGE = "http://operator-bridge:8003"


@click.group()
def main() -> None:
    """Play an operator that is reached by HTTP."""


@main.command()
@click.argument("operator")
def settings(operator: str) -> None:
    """Print the settings by which the operator bridge and the simulator of OPERATOR know each other."""
    account = importlib.import_module(f"demo.simulators.{operator}").Account.generate()
    settings = account.settings(ADDRESS) | {
        "SIMULATED_OPERATOR": operator,
        "SIMULATOR_ARGUMENTS": shlex.join(account.arguments(PORT, BRIDGE)),
    }
    for name, value in settings.items():
        click.echo(f"{name}={value}")


@main.command()
def serve() -> None:
    """Play the operator that the environment names, until it is stopped."""
    try:
        operator, arguments = os.environ["SIMULATED_OPERATOR"], os.environ["SIMULATOR_ARGUMENTS"]
    except KeyError as missing:
        raise click.ClickException(f"{missing} is not set: see `settings`.") from None
    os.environ["SIMULATOR_HOST"] = "0.0.0.0"  # noqa: S104 (in a container, whose network says who reaches it)
    sys.argv[1:] = shlex.split(arguments)
    importlib.import_module(f"demo.simulators.{operator}").main()


if __name__ == "__main__":
    main()
