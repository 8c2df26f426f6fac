"""`souche demo`: starts the stack, plays the year act by act, sums it up and proves that every cent is there."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from demo import granting, preparing, settling, spending, summary
from demo.bars import act
from demo.calls import Calls, Unexpected
from demo.embedded import EmbeddedServerError
from demo.interruptions import Interrupted
from demo.stack import Stack, StackFailed, running
from demo.summary import Outcome
from demo.world import World
from demo.year import Bar, Year
from shared import clock

WIDTH = 120  # of what is written to a file


def play(*, stay: bool = False, scale: float = 1.0) -> int:
    """Plays the scenario and returns the exit code: 0 only if everything balances. `scale` is of the grants."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    world = World.read(clock.today(), scale)
    try:
        with running(world.described["contract"]["operator"], lambda what: console.print(f"Starting {what}")) as stack:
            exit_code = _play(console, stack, world, stay=stay)
            console.print("Stopping everything. [bold]make up[/bold] plays the same and leaves it running.")
        return exit_code
    except Interrupted as interrupted:
        console.print("Stopped; nothing is left behind.")
        return interrupted.exit_code
    except (StackFailed, EmbeddedServerError, Unexpected) as failure:
        console.print(f"It failed: {failure}", style="bold red", soft_wrap=True)
        return 1


def _play(console: Console, stack: Stack, world: World, *, stay: bool) -> int:
    year = Year(world, Calls(stack.signer, stack.addresses))
    try:
        outcome = _acts(console, stack, year)
    except Unexpected as unexpected:
        stack.failure = str(unexpected)
        raise
    summary.show(console, year, outcome)
    balances = outcome.verified and outcome.differences == 0
    if not balances:
        stack.failure = "it does not balance"
        console.print(f"It does not balance. The logs are kept: {stack.directory / 'logs'}", style="bold red")
    if stay:
        summary.guide(console, stack, year)
        _wait(stack)
    return 0 if balances else 1


def _wait(stack: Stack) -> None:
    """Waits for Ctrl-C, the way in which a stack that stays up is meant to end."""
    try:
        signal.pause()
    except Interrupted:
        if stack.failure:
            raise


def _acts(console: Console, stack: Stack, year: Year) -> Outcome:
    begin = time.monotonic()
    calm, singly, bulk = granting.split(year)
    with _act(console, year, "Programme, envelopes, prescribers, structures") as bar:
        preparing.prepare(year, bar)
    with _act(console, year, "A calm hour: grants one after the other") as bar:
        seconds = granting.grant_calmly(year, calm, bar)
        settling.wait_until_read(year)
        calm_lag = summary.lag(year, seconds)
    with _act(console, year, "39 advisers grant, one by one") as bar:
        granting.grant_singly(year, singly, bar)
    with _act(console, year, "Grants in bulk") as bar:
        granting.grant_in_bulk(year, bulk, bar)
    with _act(console, year, "Booklets printed") as bar:
        granting.print_codes(year, bar)
    with _act(console, year, "The operator learns of the cheques") as bar:
        settling.settle(year, bar)
    year_lag = summary.lag(year, time.monotonic() - begin)
    _spend(console, stack, year)
    with _act(console, year, "Our register against the operator's statement") as bar:
        differences = settling.compare(year, bar)
    with _act(console, year, "souche verify") as bar:
        verified = _verify(console, stack, bar)
    return Outcome(calm_lag, year_lag, differences, verified)


def _spend(console: Console, stack: Stack, year: Year) -> None:
    ends = spending.plan(year)
    with _act(console, year, "Workshops paid at our tills") as bar:
        spending.redeem(year, ends.visits, bar)
    with _act(console, year, "Workshops paid at the operator's till") as bar:
        spending.redeem_at_operator(year, stack.operator_address, ends.at_operator, bar)
    with _act(console, year, "Redemptions taken back") as bar:
        spending.reverse(year, bar)
    with _act(console, year, "Cheques past their last day") as bar:
        settling.expire(year, bar)
    with _act(console, year, "The operator learns of what was spent") as bar:
        settling.settle(year, bar)
    with _act(console, year, "The operator pays the structures") as bar:
        settling.pay(year, stack.operator_address, bar)


@contextmanager
def _act(console: Console, year: Year, title: str) -> Iterator[Bar]:
    """One act with its bar; how fast requests were answered is noted."""
    before, begin = len(year.calls.seconds), time.monotonic()
    with act(console, title) as bar:
        yield bar
    year.rates[title] = (len(year.calls.seconds) - before) / (time.monotonic() - begin)


def _verify(console: Console, stack: Stack, bar: Bar) -> bool:
    bar.begin(1)
    verification = stack.souche("verify")
    bar.advance()
    if verification.returncode != 0:
        console.print(verification.stdout + verification.stderr, style="red", soft_wrap=True)
    return verification.returncode == 0
