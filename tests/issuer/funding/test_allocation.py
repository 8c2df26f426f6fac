"""Laws of the plan, without a database: nothing is overdrawn, nothing is refused while there is money for it."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.issuer.funding.allocation import EnvelopeView, FundingNeed, Plan
from shared.problems import Conflict

PROGRAMME, OTHER = UUID(int=1), UUID(int=2)
PUBLICS = st.sampled_from(["seniors", "jeunes", "demandeurs d'emploi"])
DAYS = st.dates(date(2026, 1, 1), date(2026, 1, 4))
DAY = date(2026, 1, 2)
FACES = (700, 1000)
Place = tuple[str, ...]
AGEN = ("47000", "47001", "CCAS")


@st.composite
def funds(draw: st.DrawFn) -> list[EnvelopeView]:
    """A few envelopes, of which some are for somebody else, elsewhere, or for another time."""
    return [
        EnvelopeView(
            id=UUID(int=number),
            name=f"convention {number}",
            programme_id=draw(st.sampled_from([PROGRAMME, PROGRAMME, OTHER])),
            priority=draw(st.integers(0, 2)),
            starts_on=draw(DAYS),
            ends_on=draw(DAYS),
            target_publics=draw(st.lists(PUBLICS, max_size=2)),
            available_cents=draw(st.integers(0, 9_999)),
            share_bp=draw(st.none() | st.integers(1, 10_000)),
            territory=draw(st.sampled_from([(), ("47",), ("33", "24")])),
            reserved_publics=draw(st.lists(PUBLICS, max_size=1)),
            reserved_left_cents=draw(st.integers(0, 5_000)),
        )
        for number in range(draw(st.integers(0, 5)))
    ]


ORDERS = st.lists(
    st.tuples(st.sampled_from(FACES), st.none() | PUBLICS, DAYS, st.integers(1, 12)), min_size=1, max_size=8
)


def fund(number: int, available_cents: int = 100_000, **terms: Any) -> EnvelopeView:
    """An envelope open to everybody."""
    usual: dict[str, Any] = {"priority": 0, "starts_on": DAY, "ends_on": DAY, "target_publics": []}
    names: dict[str, Any] = {"id": UUID(int=number), "name": f"convention {number}", "programme_id": PROGRAMME}
    return EnvelopeView(**(names | usual | {"available_cents": available_cents} | terms))


def need(*values: int, public: str | None = None, place: Place = AGEN, day: date = DAY) -> FundingNeed:
    """A grant of these cheques."""
    return FundingNeed(PROGRAMME, public, day, values, *place)


def numbers(ids: Sequence[UUID]) -> list[int]:
    """The numbers of the envelopes that were chosen."""
    return [chosen.int for chosen in ids]


@given(funds(), ORDERS)
def test_a_plan_never_overdraws_and_never_refuses_what_there_is_money_for(
    seen: list[EnvelopeView], orders: list[tuple[int, str | None, date, int]]
) -> None:
    by_id = {view.id: view for view in seen}
    left = {view.id: view.available_cents for view in seen}
    kept = {view.id: min(view.reserved_left_cents, view.available_cents) for view in seen}
    plan = Plan(seen)
    charges: Counter[tuple[UUID, bool]] = Counter()
    for face, public, day, cheques in orders:
        request = need(*[face] * cheques, public=public, day=day)
        eligible = [view for view in seen if view.programme_id == PROGRAMME and view.unfit(request) is None]
        free = {view.id: left[view.id] - (0 if view.reserves_for(public) else kept[view.id]) for view in eligible}
        possible = sum(cents // face for cents in free.values())
        try:
            taken = plan.take(request)
        except Conflict:
            assert possible < cheques
            continue
        assert possible >= cheques == len(taken.envelope_ids)
        assert sum(part.cents for part in taken.parts) == face * cheques
        for chosen in taken.envelope_ids:
            reserved = by_id[chosen].reserves_for(public)
            left[chosen] -= face
            kept[chosen] = max(0, kept[chosen] - face) if reserved else kept[chosen]
            charges[chosen, reserved] += face
            assert kept[chosen] <= left[chosen]
    assert plan.charges == charges


@given(funds())
def test_a_plan_takes_by_priority_then_shares_then_age(seen: list[EnvelopeView]) -> None:
    request = need(1000)
    order = {view.id: (view.priority, view.share_bp is None, view.id if view.share_bp is None else 0) for view in seen}
    eligible = [view for view in seen if view.programme_id == PROGRAMME and view.unfit(request) is None]
    possible = sum(view.free_cents(None) // 1000 for view in eligible)
    if possible:
        chosen = Plan(seen).take(need(*[1000] * possible)).envelope_ids
        assert chosen == sorted(chosen, key=lambda fund_id: order[fund_id][:2])
        unshared = [fund_id for fund_id in chosen if order[fund_id][1]]
        assert unshared == sorted(unshared, key=lambda fund_id: order[fund_id])


@given(st.lists(st.integers(1, 10), min_size=2, max_size=3), st.integers(1, 60))
def test_shares_are_kept_to_within_a_cheque(shares: list[int], cheques: int) -> None:
    plan = Plan(fund(number, share_bp=share * 1000) for number, share in enumerate(shares))
    taken: Counter[int] = Counter()
    for _ in range(cheques):
        taken.update(numbers(plan.take(need(1000)).envelope_ids))
    for number, share in enumerate(shares):
        assert abs(taken[number] - cheques * share / sum(shares)) < 1


def test_the_same_envelopes_and_grants_give_the_same_charges() -> None:
    def charged() -> list[Sequence[UUID]]:
        plan = Plan([fund(3, share_bp=5000), fund(1, share_bp=5000), fund(2, share_bp=3000)])
        return [plan.take(need(1000, 1000, 500)).envelope_ids for _ in range(9)]

    assert charged() == charged()


def test_an_envelope_that_could_not_be_charged_catches_up_with_its_share() -> None:
    plan = Plan([fund(1, share_bp=5000, target_publics=["seniors"]), fund(2, share_bp=5000)])
    assert numbers(plan.take(need(1000, 1000, public="jeunes")).envelope_ids) == [2, 2]
    assert numbers(plan.take(need(1000, 1000, 1000, 1000, public="seniors")).envelope_ids) == [1, 1, 1, 2]


def test_money_kept_for_a_public_is_not_there_for_others() -> None:
    plan = Plan([fund(1, 5_000, reserved_publics=["seniors"], reserved_left_cents=2_000), fund(2, priority=9)])
    assert numbers(plan.take(need(*[1000] * 4)).envelope_ids) == [1, 1, 1, 2]
    taken = plan.take(need(*[1000] * 3, public="seniors"))
    assert numbers(taken.envelope_ids) == [1, 1, 2]
    assert plan.charges == {
        (UUID(int=1), False): 3_000,
        (UUID(int=2), False): 2_000,
        (UUID(int=1), True): 2_000,
    }


def test_what_reserved_publics_took_counts_towards_what_is_kept_for_them() -> None:
    plan = Plan([fund(1, 5_000, reserved_publics=["seniors"], reserved_left_cents=2_000)])
    plan.take(need(1000, 1000, 1000, public="seniors"))
    assert len(plan.take(need(1000, 1000)).envelope_ids) == 2


@pytest.mark.parametrize(
    ("place", "expected"), [(AGEN, 1), (("24000", "24322"), 2), (("46000", "47999"), 1), (("33000",), 2)]
)
def test_territory_is_where_the_prescriber_is_by_postcode_or_insee_code(place: Place, expected: int) -> None:
    plan = Plan([fund(1, territory=["47"]), fund(2, priority=1)])
    assert numbers(plan.take(need(1000, place=place)).envelope_ids) == [expected]


def test_a_charge_says_why_this_envelope_and_why_not_those_before_it() -> None:
    plan = Plan(
        [
            fund(1, target_publics=["jeunes"], priority=1),
            fund(2, starts_on=date(2025, 1, 1), ends_on=date(2025, 12, 31), priority=1),
            fund(3, territory=["33"], priority=2),
            fund(4, 1_500, priority=3),
            fund(5, 1_000, reserved_publics=["jeunes"], reserved_left_cents=1_000, priority=4),
            fund(6, share_bp=2500, target_publics=["seniors"], territory=["47"], priority=5),
        ]
    )
    taken = plan.take(need(1000, 1000, public="seniors"))
    assert [part.number for part in taken.parts] == [1, 1]
    assert taken.parts[0].why == (
        "Priority 3. Passed over: convention 1: for jeunes only; convention 2: runs from 2025-01-01 to 2025-12-31;"
        " convention 3: for prescribers in 33 only."
    )
    assert taken.parts[1].why == (
        "Priority 5, furthest below its share of 25 %, for seniors, for prescribers in 47. Passed over: convention 1:"
        " for jeunes only; convention 2: runs from 2025-01-01 to 2025-12-31; convention 3: for prescribers in 33 only;"
        " convention 4: 5.00 EUR left; convention 5: what is left is kept for jeunes."
    )
    assert taken.prescriber_kind == "CCAS"
