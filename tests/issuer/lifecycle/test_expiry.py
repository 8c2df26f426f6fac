"""What will expire soon: warned of 30, 15 and 7 days before, once each, and reported."""

import csv
import io
from datetime import date, timedelta
from typing import Any

import pytest

from services.issuer import tasks
from services.issuer.lifecycle import expiry
from shared.values import clock
from tests.issuer.office import Office, cancelled, expired, ids, redeemed


def in_days(days: int) -> date:
    return clock.today() + timedelta(days=days)


@pytest.fixture
def town(empty_office: Office) -> Office:
    """An office whose cheques are valid until a day 60 days ahead, with ten days of grace."""
    empty_office.programme(validity={"until": in_days(60).isoformat()}, grace_days=10)
    empty_office.envelope(1_000_000)
    return empty_office


def warn(office: Office, days: int) -> int:
    """The warnings of the day that is so many days ahead."""
    posted, rest = expiry.warn(office.service.runtime, in_days(days))
    assert rest is None
    return posted


def warnings(office: Office) -> list[dict[str, Any]]:
    items = office.made(office.get("/v1/notices?kind=cheques.expiring"), 200)["items"]
    return [notice["body"] for notice in items]


def test_a_grant_is_warned_of_thirty_fifteen_and_seven_days_before_once_each(town: Office) -> None:
    grant = town.grant()
    posted = {day: warn(town, day) for day in range(62) for _ in range(2)}
    assert posted == dict.fromkeys(range(62), 0)  # the second look of each day finds nothing
    assert [(body["days"], body["days_left"]) for body in warnings(town)] == [(30, 30), (15, 15), (7, 7)]
    [first, *_] = warnings(town)
    assert first == {
        "grant_id": grant["grant_id"],
        "programme": "pass",
        "lot": None,
        "days": 30,
        "days_left": 30,
        "valid_until": in_days(60).isoformat(),
        "presentable_until": in_days(70).isoformat(),
        "unspent_number": 5,
        "unspent_cents": 5000,
    }
    told = town.events("notice.posted")
    assert [event["body"]["days"] for event in told] == [30, 15, 7]
    assert {event["prescriber_id"] for event in told} == {str(town.prescriber)}


def test_days_on_which_nobody_looked_are_made_good_by_the_nearest_warning(town: Office) -> None:
    town.grant()
    assert [warn(town, day) for day in (36, 48, 58, 61)] == [1, 1, 1, 0]
    assert [(body["days"], body["days_left"]) for body in warnings(town)] == [(30, 24), (15, 12), (7, 2)]


def test_only_what_is_unspent_is_warned_of(town: Office) -> None:
    spent, part, kept = town.grant(), town.grant(), town.grant()
    body = {"cheque_ids": ids(part)[2:3], "reason": "?"}
    asked = town.made(town.post("/v1/cancellations", body), 202)
    town.tell(
        redeemed(ids(spent)),
        redeemed(ids(part)[:1]),
        expired(ids(part)[1:2]),
        cancelled(asked["cancellation_id"], ids(part)[2:3]),
    )
    assert warn(town, 30) == 2
    found = {body["grant_id"]: body["unspent_number"] for body in warnings(town)}
    assert found == {part["grant_id"]: 2, kept["grant_id"]: 5}
    town.tell(redeemed(ids(part)[3:]))
    assert warn(town, 45) == 1


def test_a_grant_made_within_the_time_of_a_warning_is_not_warned_of_it(empty_office: Office) -> None:
    empty_office.programme(validity={"until": in_days(10).isoformat()})
    empty_office.envelope(1_000_000)
    empty_office.grant()
    assert [warn(empty_office, day) for day in range(11)] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert [body["days"] for body in warnings(empty_office)] == [7]


@pytest.mark.slow
def test_hundreds_of_grants_are_warned_of_in_portions(town: Office) -> None:
    town.envelope(10_000_000)
    lines = [{"programme": "pass", "amount_cents": 5000, "reason": "x", "reference": str(n)} for n in range(1_001)]
    answer = town.post("/v1/grants/bulk", lines, "prescriber", town.prescriber, "bulk")
    assert town.made(answer, 200)["accepted"] == 1_001
    assert warn(town, 30) == 1_001
    assert warn(town, 31) == 0


def test_the_warnings_are_posted_on_demand_and_by_the_clock(town: Office) -> None:
    town.grant()
    answer = town.post("/v1/expiring/warnings", None, "operations")
    assert town.made(answer, 200) == {"posted": 0}
    entry = tasks.BEAT["warn of expiry"]
    assert entry["task"] == tasks.warn_of_expiry.name
    assert entry["schedule"] <= 86_400


def test_the_report_says_what_is_at_stake_by_day_and_envelope(town: Office) -> None:
    grant = town.grant()
    other = town.prescriber_named("other")
    town.grant(scope=other)
    town.tell(redeemed(ids(grant)[:2]))
    town.made(town.post("/v1/blocks", {"cheque_ids": ids(grant)[2:3], "reason": "?"}), 200)
    shown = town.made(town.get("/v1/expiring?days=60", "finance"), 200)
    assert (shown["from"], shown["until"]) == (in_days(0).isoformat(), in_days(60).isoformat())
    assert (shown["number"], shown["cents"]) == (8, 8_000)
    [line] = shown["lines"]
    assert line["valid_until"] == in_days(60).isoformat()
    assert (line["grants"], line["number"], line["blocked_number"], line["funder"]) == (2, 8, 1, "État")
    assert town.made(town.get("/v1/expiring", "finance"), 200)["lines"] == []
    mine = town.made(town.get("/v1/expiring?days=60", "prescriber", other), 200)
    assert mine["number"] == 5
    assert town.made(town.get("/v1/expiring?days=60&programme=none"), 200)["number"] == 0


def test_the_grants_that_end_soon_are_a_table_without_anybodys_name(town: Office) -> None:
    grant = town.grant(beneficiary={"family_name": "Zéphyr", "given_name": "A", "birth_date": "1961-03-09"})
    town.grant(scope=town.prescriber_named("other"))
    answer = town.get("/v1/expiring/grants.csv?days=60", "prescriber", town.prescriber)
    [line] = csv.DictReader(io.StringIO(answer.text))
    assert (line["grant_id"], line["number"], line["cents"]) == (grant["grant_id"], "5", "5000")
    assert "Zéphyr" not in answer.text


def test_a_run_ends_after_a_while_and_another_goes_on_from_there(town: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "BATCH_SIZE", 2)
    for _ in range(5):
        town.grant()
    place: expiry.Place | None = expiry.Place(in_days(31))
    posted = []
    while place is not None:
        number, place = expiry.warn(town.service.runtime, in_days(31), place, seconds=0)
        assert place is None or expiry.Place.read(str(place)) == place
        posted.append(number)
    assert posted == [2, 2, 1]
    assert warn(town, 31) == 0
