"""Long jobs in slices: how far a run gets, and where the next goes on."""

import time

import pytest

from shared.process import slices


def count_to_five(place: int) -> tuple[int, int | None]:
    """A job of three slices, of two, two and one."""
    return min(2, 5 - place), place + 2 if place + 2 < 5 else None


def test_a_run_goes_from_slice_to_slice_to_the_end_of_the_job() -> None:
    assert slices.run(count_to_five, 0) == (5, None)
    assert slices.run(count_to_five, 2) == (3, None)


def test_a_run_that_has_no_time_left_does_one_slice_and_says_where_to_go_on() -> None:
    assert slices.run(count_to_five, 0, seconds=0) == (2, 2)
    assert slices.run(count_to_five, 2, seconds=-1) == (2, 4)
    assert slices.run(count_to_five, 4, seconds=0) == (1, None)


def test_a_run_begins_no_slice_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter((0.0, 0.5, 1.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(instants))
    assert slices.run(count_to_five, 0, seconds=1.0) == (4, 4)
