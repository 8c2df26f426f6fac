"""Ctrl-C and SIGTERM: at once, or as soon as what is being started is noted."""

import os
import signal
import sys
import time

import pytest

from demo.stack.interruptions import Interrupted, Interruptions


def test_a_signal_interrupts_with_the_exit_code_that_shells_expect() -> None:
    with Interruptions().installed(), pytest.raises(Interrupted) as interrupted:
        os.kill(os.getpid(), signal.SIGTERM)
    assert interrupted.value.exit_code == 143


def test_a_held_block_runs_to_its_end_before_it_is_interrupted() -> None:
    interruptions = Interruptions()
    steps = []

    def start_something() -> None:
        with interruptions.held():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("noted")

    with interruptions.installed(), pytest.raises(Interrupted):
        start_something()
    assert steps == ["noted"]


def test_a_second_signal_does_not_disturb_the_cleaning_up() -> None:
    with Interruptions().installed():
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_of_before_are_there_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruptions().installed():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_signal_that_comes_while_something_is_thrown_away_is_not_lost() -> None:
    """What is raised in a finalizer nobody catches: Python says so and goes on."""

    class Thrown:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    steps = []

    def throw_away() -> None:
        thrown = Thrown()
        del thrown
        steps.append("gone on")
        time.sleep(10)

    with Interruptions().installed(), pytest.raises(Interrupted):
        throw_away()
    assert steps == ["gone on"]


def test_what_else_nobody_can_catch_goes_where_it_went_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Thrown:
        def __del__(self) -> None:
            raise OSError("not ours")

    heard = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: heard.append(str(lost.exc_value)))
    with Interruptions().installed():
        Thrown()
    assert heard == ["not ours"]
