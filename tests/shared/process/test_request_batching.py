"""Requests that threads make at the same time are run together, and each gets its own answer."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from shared.process.request_batching import RequestBatcher

PATIENCE_SECONDS = 20


class Desk:
    """Answers each number with its double, so many at a time, and does so only when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = threading.Event()
        self.batcher = RequestBatcher(self.answer)

    def answer(self, numbers: Sequence[int]) -> list[int | None]:
        self.asked.append(list(numbers))
        assert self.open.wait(PATIENCE_SECONDS)
        if 1313 in numbers:
            raise psycopg.OperationalError("1313")
        if 6666 in numbers:
            raise RuntimeError("6666")
        return [None if number < 0 else 2 * number for number in numbers]

    def until_waiting(self, number: int) -> None:
        """Returns when one is being answered and so many wait for it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.asked or len(self.batcher._waiting) < number:
            assert time.monotonic() < deadline, "they do not all wait"
            time.sleep(0.005)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_who_comes_alone_is_answered_alone_and_at_once(desk: Desk) -> None:
    desk.open.set()
    assert [desk.batcher.submit(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert desk.asked == [[1], [2], [3]]


def test_those_who_come_meanwhile_are_asked_for_together_in_their_order(desk: Desk) -> None:
    with ThreadPoolExecutor(40) as threads:
        first = threads.submit(desk.batcher.submit, 1)
        desk.until_waiting(0)
        others = []
        for number in range(2, 41):
            others.append(threads.submit(desk.batcher.submit, number))
            desk.until_waiting(number - 1)
        desk.open.set()
        assert [answer.result() for answer in (first, *others)] == [2 * number for number in range(1, 41)]
    assert desk.asked == [[1], list(range(2, 34)), list(range(34, 41))]  # 32 at a time


def test_what_does_not_go_with_the_others_is_to_be_asked_alone(desk: Desk) -> None:
    desk.open.set()
    assert desk.batcher.submit(-5) is None
    assert desk.batcher.submit(5) == 10


def test_where_the_database_refuses_all_are_to_be_asked_alone(desk: Desk) -> None:
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(desk.batcher.submit, 1)
        desk.until_waiting(0)
        others = [threads.submit(desk.batcher.submit, number) for number in (1313, 2)]
        desk.until_waiting(2)
        desk.open.set()
        assert first.result() == 2
        assert [answer.result() for answer in others] == [None, None]
    assert desk.batcher.submit(4) == 8


def test_a_fault_of_ours_is_the_fault_of_one_and_keeps_nobody_waiting(desk: Desk) -> None:
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(desk.batcher.submit, 1)
        desk.until_waiting(0)
        guilty = threads.submit(desk.batcher.submit, 6666)
        desk.until_waiting(1)
        other = threads.submit(desk.batcher.submit, 2)
        desk.until_waiting(2)
        desk.open.set()
        assert first.result() == 2
        assert other.result(PATIENCE_SECONDS) is None
        with pytest.raises(RuntimeError):
            guilty.result(PATIENCE_SECONDS)
    assert desk.batcher.submit(4) == 8


def test_fifty_threads_have_each_its_own_answer(desk: Desk) -> None:
    desk.open.set()
    with ThreadPoolExecutor(50) as threads:
        assert list(threads.map(desk.batcher.submit, range(1000))) == [2 * number for number in range(1000)]
    assert sorted(number for numbers in desk.asked for number in numbers) == list(range(1000))
