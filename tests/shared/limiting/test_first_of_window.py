"""A flood is recorded by its first few events, and by how many there were besides."""

import time

import pytest

from shared.limiting.first_of_window import FirstOfWindow


def test_the_first_few_of_each_kind_are_recorded_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    first = FirstOfWindow(2, 60.0)
    assert [first.withheld("a") for _ in range(5)] == [0, 0, None, None, None]
    assert first.withheld("b") == 0
    now += 60
    assert [first.withheld("a") for _ in range(3)] == [3, 0, None]
    assert first.withheld("b") == 0
    now += 60
    assert first.withheld("a") == 1
