"""Visits are kept back for later, and none is lost or made twice by it."""

from collections.abc import Sequence
from datetime import date

import pytest

from demo.acts.calls import Identity
from demo.acts.spending import Ends
from demo.acts.year import Cheque, Visit

TILL = Identity("structure", "01890a5d-ac96-774b-bcce-b302099a8057")


def _visits(sizes: Sequence[int]) -> list[Visit]:
    numbers = iter(range(sum(sizes)))
    return [Visit(TILL, [Cheque(str(next(numbers)), "") for _ in range(size)], date(2026, 11, 22)) for size in sizes]


@pytest.mark.parametrize(("wanted", "held"), [(0, 0), (1, 1), (3, 1), (4, 2), (100, 4)])
def test_visits_with_about_so_many_cheques_are_kept_back_and_the_rest_is_made_now(wanted: int, held: int) -> None:
    visits = _visits([2, 5, 4, 3])
    ends = Ends(list(visits), [], [])
    later = ends.keep_back(wanted)
    assert len(later) == held
    assert [*ends.visits, *reversed(later)] == visits
