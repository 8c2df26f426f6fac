"""Over random histories of days and months, every book of the three services is what a clerk would have written.

Grants, redemptions, reversals, cancellations, replacements, blocks, lots, expiry, statements, corrections, payments and
changes of envelopes and conventions, with news that come late, in any order, or twice. What each report said at the
end of each day is what it still says of that day.
"""

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from hypothesis import event, given, settings
from hypothesis import strategies as st

from shared.settings.settings import SERVICES
from shared.values import clock
from tests.chance import TIMES
from tests.harness import ServiceUnderTest
from tests.journey.conftest import PROGRAMME, World
from tests.journey.desk import LOT
from tests.journey.reckoning import MEASURES
from tests.journey.test_whole_path import assert_balanced
from tests.journey.village import Village
from tests.serving import served

ACTS: list[Callable[[Village, int], Any]] = [
    Village.grant, Village.grant, Village.grant, Village.redeem, Village.redeem, Village.redeem, Village.redeem,
    Village.reverse, Village.cancel, Village.replace, Village.replace, Village.block, Village.suspend, Village.expire,
    Village.agree, Village.state, Village.end_the_month, Village.end_the_month, Village.correct, Village.pay_typed,
    Village.pay_there, Village.move, Village.close, Village.amend, Village.again, Village.carry, Village.carry,
    Village.carry, Village.sleep, Village.sleep, Village.sleep, Village.sleep,
]  # fmt: skip
# Before the year's end, before a leap day, before the clock is put forward and back.
STARTS = (date(2027, 11, 28), date(2028, 2, 27), date(2026, 3, 20), date(2026, 10, 20))
TERMS = PROGRAMME | {"validity": {"months": 2}, "grace_days": 10}
HISTORIES = int(os.environ.get("SOUCHE_HISTORIES", 4 * TIMES))
"""How many are played; `SOUCHE_HISTORIES=500` for a thorough look."""


@contextmanager
def a_village(service: Callable[[str], ServiceUnderTest], owner: sa.Engine, start: date) -> Iterator[Village]:
    """A village on empty tables, in which it is noon of a day and no time passes by itself."""
    noon = datetime(start.year, start.month, start.day, 12, tzinfo=clock.PARIS)
    with ExitStack() as stack:
        traveller = stack.enter_context(time_machine.travel(noon, tick=False))
        services = {name: service(name) for name in SERVICES}
        for under_test in services.values():
            stack.enter_context(served(under_test.app, under_test.settings.peers[under_test.settings.service]))
        world = World(services, terms=TERMS)
        world.prepare()
        village = Village(world, owner, traveller)
        village.settle_in()
        world.settle()
        yield village


@pytest.mark.slow
@pytest.mark.timeout(60 + 60 * HISTORIES)
@settings(max_examples=HISTORIES)
@given(
    start=st.sampled_from(STARTS),
    stated=st.booleans(),
    history=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 10_000)), min_size=15, max_size=60),
)
def test_every_book_adds_up_today_and_as_of_any_past_day(
    service: Callable[[str], ServiceUnderTest],
    owner: sa.Engine,
    start: date,
    stated: bool,
    history: list[tuple[Callable[[Village, int], Any], int]],
) -> None:
    with a_village(service, owner, start) as village:
        village.grant(2)
        village.grant(7)
        village.come_to_rest()
        if stated:  # else few histories come as far as corrections and payments
            village.redeem(4)
            village.redeem(9)
            village.end_the_month(1)
            village.come_to_rest()
        for act, dice in history:
            act(village, dice)
        village.come_to_rest()
        village.sleep(0)
        assert_envelopes(village)
        assert_cheques(village)
        assert_reports(village)
        assert_statements(village)
        assert_lot(village)
        assert_balanced(village.world)
        tell_what_happened(village)


def assert_envelopes(village: Village) -> None:
    """Each holds, engages and keeps what the clerk wrote; no convention holds more than it grants."""
    found = village.world.ask("issuer", "GET", "/v1/envelopes", "finance")["items"]
    told = {
        each["envelope_id"]: (each["amount_cents"], each["engaged_cents"], each["reserved_cents"]) for each in found
    }
    books = village.books.envelopes
    assert told == {each.id: (each.amount, each.engaged, each.kept) for each in books.values()}
    assert all(0 <= each.engaged_kept <= each.engaged <= each.amount for each in books.values())
    for convention, granted in village.conventions.items():
        assert granted[-1][1] is None or village.held(convention) <= granted[-1][1]


def assert_cheques(village: Village) -> None:
    """Issuer and redeemer say of each envelope and of the programme what the clerk says of the cheques."""
    expected: defaultdict[str, Counter[str]] = defaultdict(Counter)
    judged: Counter[str] = Counter()
    for cheque in village.books.cheques.values():
        expected[cheque.envelope.id][cheque.state] += cheque.cents
        judged[cheque.judged or ("blocked" if cheque.barred else "spendable")] += cheque.cents
    for envelope in village.world.ask("issuer", "GET", "/v1/balances", "finance")["envelopes"]:
        states = {state: sums["cents"] for state, sums in envelope["states"].items() if sums["cents"]}
        assert states == expected[envelope["envelope_id"]]
    [programme] = village.world.ask("redeemer", "GET", "/v1/balances", "finance")["programmes"]
    assert {state: sums["cents"] for state, sums in programme["states"].items() if sums["cents"]} == judged


def assert_reports(village: Village) -> None:
    """What was reported on each day is what is reported of it now, and what the clerk says that it was."""
    for day, (said, lines) in village.reports.items():
        report = village.world.ask("issuer", "GET", f"/v1/reports/conventions?as_of={day}", "finance")
        assert report == said | {"provisional": False}
        assert village.lines(day) == lines
        assert_report(village, day, report, lines)
        between = day + timedelta(days=1)
        if between not in village.reports and between < village.today:
            quiet = village.world.ask("issuer", "GET", f"/v1/reports/conventions?as_of={between}", "finance")
            assert quiet["conventions"] == report["conventions"]


def assert_report(village: Village, day: date, report: Any, lines: str) -> None:
    """One report, in all its breakdowns."""
    books = village.books.lines(day)
    told = {
        (line["envelope_id"], line["target_public"] or None, line["prescriber_kind"] or "None", line["month"]): Counter(
            {name: int(line[name]) for name in _MEASURED if int(line[name])}
        )
        for line in csv.DictReader(io.StringIO(lines))
    }
    assert told == {key: Counter({name: n for name, n in sums.items() if n}) for key, sums in books.items()}
    conventions = {convention["convention_id"]: convention for convention in report["conventions"]}
    assert set(conventions) == set(village.conventions)
    for convention_id, convention in conventions.items():
        of = {key: sums for key, sums in books.items() if village.books.envelopes[key[0]].convention == convention_id}
        assert _flat(convention["sums"]) == _sum(of.values())
        for place, name in enumerate(("envelope_id", "target_public", "prescriber_kind", "month")):
            listed = convention["by_" + name.removesuffix("_id")]
            by = {line[name] if name != "prescriber_kind" else str(line[name]): _flat(line["sums"]) for line in listed}
            for value, sums in by.items():
                assert sums == _sum(sums for key, sums in of.items() if key[place] == value)
            assert {key[place] for key in of} <= set(by)
        _assert_amounts(village, day, convention)


def _assert_amounts(village: Village, day: date, convention: Any) -> None:
    """What a convention granted, its envelopes held, and its funder owes as of a day."""
    books = [each for each in village.books.envelopes.values() if each.convention == convention["convention_id"]]
    held = {each.id: as_of for each in books if (as_of := each.as_of(day))}
    told = {line["envelope_id"]: (line["amount_cents"], line["closed"]) for line in convention["by_envelope"]}
    assert told == held
    since = [amount for agreed, amount in village.conventions[convention["convention_id"]] if agreed <= day]
    amount = since[-1] or sum(amount for amount, _ in held.values())
    assert (convention["amount_cents"], convention["envelopes_cents"]) == (amount, sum(a for a, _ in held.values()))
    part = convention["sums"]["used"]["cents"] * convention["pays_at_most_bp"] // 10_000
    assert convention["owed_cents"] == min(amount, part)


def assert_statements(village: Village) -> None:
    """Each is what it was when it was issued; what is paid of it by now is what was typed and what operators paid."""
    for statement_id, issued in village.statements.items():
        now = village.world.ask("redeemer", "GET", f"/v1/statements/{statement_id}", "finance")
        assert {**now, "now": None} == {**issued, "now": None}
        assert now["totals"]["due"]["cents"] == sum(line["due_cents"] for line in now["lines"])
        of = [made for made in village.books.redemptions.values() if made.statement == statement_id]
        there = sum(made.cheque.cents for made in of if made.paid and made.paid[0] == "operator")
        again = sum(made.cheque.cents * len(made.again) for made in of)
        assert now["now"]["paid_cents"] == village.typed[statement_id] + there + again
        assert now["now"]["open_cents"] == now["now"]["due_cents"] - now["now"]["paid_cents"]
    stated = Counter({made.id: made.stated for made in village.books.redemptions.values() if made.statement})
    lines: Counter[str] = Counter()
    for issued in village.statements.values():
        for line in issued["lines"]:
            lines[line["redemption_id"]] += line["due_cents"]
    assert lines == stated


def assert_lot(village: Village) -> None:
    """The statement of the lot says what the clerk says; what was agreed is what it was."""
    shown = village.world.ask("issuer", "GET", f"/v1/lots/{LOT}/statement", "finance")
    total = {name: amount for name, amount in shown["now"]["total"].items() if amount}
    assert total == {name: amount for name, amount in village.books.lot(LOT).items() if amount}
    if village.agreed:
        assert shown["figures"] == village.agreed["figures"]


def tell_what_happened(village: Village) -> None:
    """For `--hypothesis-show-statistics`: in how many of the histories each thing came about."""
    booked = Counter(entry.kind for entry in village.books.entries)
    late = any(entry.booked_on > entry.occurred_on for entry in village.books.entries if entry.kind != "engaged")
    lines = [line for whole in village.statements.values() for line in whole["lines"]]
    happened = {
        **{f"some were {kind}": number > 0 for kind, number in booked.items()},
        "some were replaced": any(cheque.replaced for cheque in village.books.cheques.values()),
        "booked on a later day": late,
        "statements": bool(lines),
        "corrections": any(line["corrects"] for line in lines),
        "paid twice": any(made.again for made in village.books.redemptions.values()),
        "the lot was agreed": village.agreed is not None,
        "an envelope was closed": any(each.closed for each in village.books.envelopes.values()),
    }
    for name in (name for name, came_about in happened.items() if came_about):
        event(name)


_MEASURED = [f"{measure}_{unit}" for measure in MEASURES for unit in ("number", "cents")]


def _flat(sums: Any) -> Counter[str]:
    flat = Counter({f"{measure}_{unit}": sums[measure][unit] for measure in MEASURES for unit in ("number", "cents")})
    return Counter({name: amount for name, amount in flat.items() if amount})


def _sum(lines: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for line in lines:
        total.update(line)
    return Counter({name: amount for name, amount in total.items() if amount})
