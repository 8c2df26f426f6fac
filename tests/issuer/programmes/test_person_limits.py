"""Laws of the limit per person, without a database: no period that holds the day ever holds more than the ceiling."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.issuer.programmes import person_limits
from services.issuer.programmes.person_limits import PastGrant
from shared.values import clock

DAYS = st.dates(date(2023, 12, 1), date(2025, 3, 31))
PASTS = st.lists(st.builds(PastGrant, DAYS, st.integers(1, 5).map(lambda euros: euros * 100)), max_size=12)


@given(PASTS, DAYS, st.integers(1, 14))
def test_what_counts_is_the_fullest_run_of_months_that_holds_the_day(
    pasts: list[PastGrant], day: date, months: int
) -> None:
    sums, counts = [0], [0]
    start = day
    while clock.add_months(start, months) > day:
        held = [past for past in pasts if start <= past.granted_on < clock.add_months(start, months)]
        sums.append(sum(past.cents for past in held))
        counts.append(len(held))
        start -= timedelta(1)
    now = person_limits.usage({"ceiling_cents": 1, "period": {"months": months}}, pasts, day)
    assert (now.granted_cents, now.grants) == (max(sums), max(counts))


@given(st.lists(st.tuples(DAYS, st.integers(1, 5)), max_size=12), st.integers(1, 14), st.integers(5, 20))
def test_granting_what_is_allowed_in_whatever_order_of_days_never_passes_the_ceiling(
    requests: list[tuple[date, int]], months: int, ceiling: int
) -> None:
    limit = {"ceiling_cents": ceiling, "period": {"months": months}}
    had: list[PastGrant] = []
    for day, cents in requests:
        if person_limits.usage(limit, had, day).fault(cents) is None:
            had.append(PastGrant(day, cents))
    for past in had:
        end = clock.add_months(past.granted_on, months)
        assert sum(other.cents for other in had if past.granted_on <= other.granted_on < end) <= ceiling
