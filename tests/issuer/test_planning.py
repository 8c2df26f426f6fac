"""Laws of the plan, without a database: nothing is overdrawn, nothing is refused while there is money for it."""

from collections import Counter
from datetime import date
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.issuer.envelopes import Fund, Plan
from services.issuer.models import Programme
from shared.problems import Conflict

PROGRAMME, OTHER = UUID(int=1), UUID(int=2)
PUBLICS = st.sampled_from(["seniors", "jeunes", "demandeurs d'emploi"])
DAYS = st.dates(date(2026, 1, 1), date(2026, 1, 4))
FACES = (700, 1000)


@st.composite
def funds(draw: st.DrawFn) -> list[Fund]:
    """A few envelopes, of which some are for somebody else, or for another time."""
    return [
        Fund(
            id=UUID(int=number),
            programme_id=draw(st.sampled_from([PROGRAMME, PROGRAMME, OTHER])),
            priority=draw(st.integers(0, 2)),
            starts_on=draw(DAYS),
            ends_on=draw(DAYS),
            target_publics=draw(st.lists(PUBLICS, max_size=2)),
            available_cents=draw(st.integers(0, 9_999)),
        )
        for number in range(draw(st.integers(0, 5)))
    ]


ORDERS = st.lists(
    st.tuples(st.sampled_from(FACES), st.none() | PUBLICS, DAYS, st.integers(1, 12)), min_size=1, max_size=8
)


@given(funds(), ORDERS)
def test_a_plan_never_overdraws_and_never_refuses_what_there_is_money_for(
    seen: list[Fund], orders: list[tuple[int, str | None, date, int]]
) -> None:
    left = {fund.id: fund.available_cents for fund in seen}
    plan = Plan(seen)
    charges: Counter[UUID] = Counter()
    for face, public, day, cheques in orders:
        eligible = [fund.id for fund in seen if fund.covers(PROGRAMME, public, day)]
        possible = sum(left[fund_id] // face for fund_id in eligible)
        programme = Programme(id=PROGRAMME, face_value_cents=face)
        try:
            chosen = plan.take(programme, public, day, cheques)
        except Conflict:
            assert possible < cheques
            continue
        assert possible >= cheques == len(chosen)
        assert set(chosen) <= set(eligible)
        for fund_id in chosen:
            left[fund_id] -= face
            charges[fund_id] += face
        assert min(left.values()) >= 0
    assert plan.charges == charges


@given(funds())
def test_a_plan_takes_by_priority_then_by_age(seen: list[Fund]) -> None:
    day = date(2026, 1, 2)
    order = {fund.id: (fund.priority, fund.id) for fund in seen}
    possible = sum(fund.available_cents // 1000 for fund in seen if fund.covers(PROGRAMME, None, day))
    if possible:
        chosen = Plan(seen).take(Programme(id=PROGRAMME, face_value_cents=1000), None, day, possible)
        assert chosen == sorted(chosen, key=lambda fund_id: order[fund_id])
