"""`souche demo`: starts the stack, plays the year act by act, sums it up and proves that every cent is there."""

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from rich.console import Console

from demo import summary
from demo.acts import dying, granting, preparing, replacing, settling, spending, switching
from demo.acts.bars import act
from demo.acts.calls import Calls, Unexpected
from demo.acts.spending import Ends
from demo.acts.switching import Switched
from demo.acts.traffic import Traffic
from demo.acts.year import Bar, Cheque, Visit, Year
from demo.stack.embedded import EmbeddedServerError
from demo.stack.interruptions import Interrupted
from demo.stack.stack import Stack, StackFailed, running
from demo.summary import Outcome
from demo.world.world import World
from shared.values import clock

WIDTH = 120  # of what is written to a file
BEFORE_SECONDS = 2.0  # of traffic, before anything happens
UNNOTICED_SECONDS = 3.0  # in which the operator is dead and nobody has done anything about it


def play(*, stay: bool = False, scale: float = 1.0) -> int:
    """Plays the scenario and returns the exit code: 0 only if everything balances. `scale` is of the grants."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    world = World.read(clock.today(), scale)
    try:
        operator = world.described["contract"]["operator"]
        with running(operator, lambda what: console.print(f"Starting {what}"), world.successors) as stack:
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
    balances = outcome.balances
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
    with _act(console, year, f"{granting.PRINTED} booklets in one file for a printer") as bar:
        granting.print_booklets(year, stack.directory, bar)
    with _act(console, year, "The operator learns of the cheques") as bar:
        settling.settle(year, bar)
    year_lag = summary.lag(year, time.monotonic() - begin)
    with _act(console, year, "Lost cheques replaced") as bar:
        replacing.replace_lost(year, bar)
    ends = spending.plan(year)
    later = [ends.keep_back(_per_mille(year, successor["spent_meanwhile"])) for successor in year.world.successors]
    _spend(console, stack, year, ends)
    with _act(console, year, "Our register against the operator's statement") as bar:
        differences = settling.compare(year, year.contract_id, bar)
    switches = _switches(console, stack, year, later, ends.kept)
    with _act(console, year, "souche verify") as bar:
        verified = _verify(console, stack, bar)
    return Outcome(calm_lag, year_lag, differences, switches, verified)


def _spend(console: Console, stack: Stack, year: Year, ends: Ends) -> None:
    operator = stack.operators[year.world.described["contract"]["operator"]]
    with _act(console, year, "Workshops paid at our tills") as bar:
        spending.redeem(year, ends.visits, bar)
    with _act(console, year, "Workshops paid at the operator's till") as bar:
        spending.redeem_at_operator(year, operator, ends.at_operator, bar)
    with _act(console, year, "Redemptions taken back") as bar:
        spending.reverse(year, bar)
    with _act(console, year, "Cheques past their last day") as bar:
        settling.expire(year, bar)
    with _act(console, year, "The operator learns of what was spent") as bar:
        settling.settle(year, bar)
    with _act(console, year, "The operator pays the structures") as bar:
        settling.pay(year, operator, bar)


def _switches(
    console: Console, stack: Stack, year: Year, later: Sequence[Sequence[Visit]], kept: Sequence[Cheque]
) -> list[Switched]:
    """The second half: one contract after the other takes over, while the tills go on."""
    contracts = pairwise([year.world.described["contract"], *year.world.successors])
    return [
        _switch(console, stack, year, old, new, Traffic(year, new["code"], visits, kept))
        for (old, new), visits in zip(contracts, later, strict=True)
    ]


def _switch(
    console: Console, stack: Stack, year: Year, old: Mapping[str, Any], new: Mapping[str, Any], traffic: Traffic
) -> Switched:
    with traffic.flowing():
        traffic.last("before", BEFORE_SECONDS, leaving=0.8)
        if new["mode"] == "failure":
            traffic.enter("as the operator dies", leaving=0.6)
            with _act(console, year, "The operator dies for good, in mid-batch") as bar:
                dying.die(year, stack, old["operator"], bar)
            traffic.last("while it is dead and nobody knows", UNNOTICED_SECONDS, leaving=0.4)
        traffic.enter("during the switch", leaving=0.1)
        with _act(console, year, f"souche operator switch --mode {new['mode']}") as bar:
            done = switching.switch(year, stack, old, new, bar)
    with _act(console, year, "The tills go on") as bar:
        traffic.finish("afterwards", bar)
    with _act(console, year, "The new operator learns of the rest") as bar:
        switching.settle(year, bar)
    return Switched(old, new, done, traffic, switching.prove(year, stack, new, done["report"]))


def _per_mille(year: Year, of_cheques: int) -> int:
    return year.counts["cheques"] * of_cheques // 1000


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
