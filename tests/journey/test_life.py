"""Lost cheques, lots, late presentation and earlier workshops, through all three services over HTTP."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from services.redeemer.cheques import expiring
from shared.values import clock
from tests.journey.conftest import World
from tests.journey.test_whole_path import assert_balanced, states

pytestmark = pytest.mark.slow


def report_lost(world: World, *cheques: dict[str, Any]) -> Any:
    body = {
        "cheque_ids": [cheque["cheque_id"] for cheque in cheques],
        "cause": "lost",
        "reason": "Perdu dans le bus.",
    }
    return world.ask("issuer", "POST", "/v1/replacements", "prescriber", body, scope=world.prescriber)


def look(world: World, replacement: dict[str, Any]) -> Any:
    path = f"/v1/replacements/{replacement['replacement_id']}"
    return world.ask("issuer", "GET", path, "prescriber", scope=world.prescriber)


def envelope(world: World) -> dict[str, Any]:
    [found] = world.ask("issuer", "GET", "/v1/envelopes", "finance")["items"]
    return dict(found)


def reasons(answer: Any) -> list[str]:
    return [refusal["reason"] for refusal in answer.get_json()["refusals"]]


def test_a_lost_cheque_is_refused_everywhere_and_the_new_one_is_spent_in_its_place(
    world: World, owner: sa.Engine
) -> None:
    lost, *others = world.grant()["cheques"]
    world.settle()
    request = report_lost(world, lost)
    world.settle()
    shown = look(world, request)
    assert not shown["pending"]
    new = shown["cheques"][0]["new_cheque"]
    assert states(owner, lost["cheque_id"]) == {"issuer": "cancelled", "redeemer": "cancelled", "link": "closed"}
    assert states(owner, new["cheque_id"]) == {"issuer": "spendable", "redeemer": "spendable", "link": "registered"}
    assert reasons(world.present(lost["code"])) == ["cancelled"]
    assert world.present(new["code"], *(cheque["code"] for cheque in others)).status_code == 201
    world.settle()
    assert envelope(world)["engaged_cents"] == 5000
    assert_balanced(world)


def test_the_operator_is_told_to_drop_the_old_cheque_and_to_register_the_new_one(
    world: World, owner: sa.Engine
) -> None:
    lost = world.grant()["cheques"][0]
    world.settle()
    request = report_lost(world, lost)
    world.settle()
    new = look(world, request)["cheques"][0]["new_cheque_id"]
    orders = sa.text("SELECT kind FROM operator_bridge.operator_order WHERE cheque_id = :id ORDER BY sequence")
    with owner.connect() as connection:
        of_old = connection.execute(orders, {"id": lost["cheque_id"]}).scalars().all()
        of_new = connection.execute(orders, {"id": new}).scalars().all()
    assert of_old[0] == of_new[0] == "register"
    assert "cancel" in of_old
    assert "cancel" not in of_new


def test_until_the_redeemer_answers_the_request_is_pending_and_the_money_stays_where_it_is(
    world: World, owner: sa.Engine
) -> None:
    lost = world.grant()["cheques"][0]
    world.settle()
    request = report_lost(world, lost)
    world._carry("issuer", "operator_bridge")  # the redeemer is down; the operator hears of the block all the same
    world.push()
    assert look(world, request)["pending"]
    assert states(owner, lost["cheque_id"])["issuer"] == "blocked"
    assert envelope(world)["engaged_cents"] == 5000
    world.settle()
    assert look(world, request)["cheques"][0]["outcome"] == "replaced"
    assert_balanced(world)


def test_a_cheque_spent_before_its_loss_is_heard_of_is_not_replaced(world: World, owner: sa.Engine) -> None:
    lost = world.grant()["cheques"][0]
    world.settle()
    request = report_lost(world, lost)
    assert world.present(lost["code"]).status_code == 201
    world.settle()
    [line] = look(world, request)["cheques"]
    assert (line["outcome"], line["reason"], line["new_cheque"]) == ("refused", "already-redeemed", None)
    assert states(owner, lost["cheque_id"])["issuer"] == "redeemed"
    assert_balanced(world)


def test_a_cheque_spent_and_reported_lost_at_the_same_instant_has_exactly_one_outcome(
    world: World, owner: sa.Engine
) -> None:
    for _ in range(3):
        cheques = world.grant()["cheques"]
        world.settle()
        request = report_lost(world, *cheques)
        with ThreadPoolExecutor(6) as pool:
            tills = [pool.submit(world.present, cheque["code"]) for cheque in cheques]
            pool.submit(world._carry, "issuer", "redeemer").result()
            spent = [till.result().status_code == 201 for till in tills]
        world.settle()
        lines = {line["cheque_id"]: line for line in look(world, request)["cheques"]}
        for cheque, taken in zip(cheques, spent, strict=True):
            assert lines[cheque["cheque_id"]]["outcome"] == ("refused" if taken else "replaced")
    assert envelope(world)["engaged_cents"] == 15_000
    assert_balanced(world)


def test_a_replacement_needs_no_free_money(world: World) -> None:
    cheques = world.grant(1_000_000)["cheques"]
    assert envelope(world)["available_cents"] == 0
    world.settle()
    request = report_lost(world, *cheques[:3])
    world.settle()
    assert [line["outcome"] for line in look(world, request)["cheques"]] == ["replaced"] * 3
    assert envelope(world)["engaged_cents"] == 1_000_000
    assert_balanced(world)


def test_the_news_read_again_from_the_start_makes_no_second_new_cheque(world: World) -> None:
    cheques = world.grant()["cheques"]
    world.settle()
    request = report_lost(world, *cheques[:2])
    world.settle()
    before = look(world, request)
    for service in world.services.values():
        with service.runtime.transaction() as session:
            session.execute(sa.text("UPDATE cursor SET position = 0"))
            session.execute(sa.text("DELETE FROM applied_event"))
    world.settle()
    assert look(world, request) == before
    assert_balanced(world)


def test_a_part_of_a_grant_is_cancelled_by_its_amount(world: World) -> None:
    granted = world.grant(8_000)
    world.settle()
    world.present(granted["cheques"][7]["code"])
    world.settle()
    body = {"grant_id": granted["grant_id"], "amount_cents": 3_000, "reason": "Situation changed."}
    world.ask("issuer", "POST", "/v1/cancellations", "prescriber", body, scope=world.prescriber)
    world.settle()
    shown = world.ask("issuer", "GET", f"/v1/grants/{granted['grant_id']}", "prescriber", scope=world.prescriber)
    found = [cheque["state"] for cheque in shown["cheques"]]
    assert found == ["spendable"] * 4 + ["cancelled"] * 3 + ["redeemed"]
    assert envelope(world)["engaged_cents"] == 5_000
    assert_balanced(world)


def lot(world: World) -> Sequence[dict[str, Any]]:
    """The cheques of a grant in a lot `hiver`."""
    body = {"code": "hiver", "name": "Hiver", "programme": "pass-numerique"}
    world.ask("issuer", "POST", "/v1/lots", "admin", body)
    order = {"programme": "pass-numerique", "amount_cents": 5000, "reason": "evaluation", "lot": "hiver"}
    granted = world.ask("issuer", "POST", "/v1/grants", "prescriber", order, scope=world.prescriber)
    world.settle()
    return list(granted["cheques"])


def test_the_cheques_of_a_suspended_lot_are_refused_until_it_is_resumed(world: World) -> None:
    first, second, *_ = lot(world)
    world.ask("issuer", "POST", "/v1/lots/hiver/suspension", "admin", {"reason": "Carton volé."})
    world.settle()
    assert reasons(world.present(first["code"])) == ["blocked"]
    world.ask("issuer", "POST", "/v1/lots/hiver/resumption", "admin", {"reason": "Retrouvé."})
    world.settle()
    assert world.present(first["code"], second["code"]).status_code == 201
    world.settle()
    assert_balanced(world)


def test_a_lot_is_agreed_upon_when_all_its_cheques_have_ended(world: World) -> None:
    first, *_ = lot(world)
    world.present(first["code"])
    world.settle()
    path = "/v1/lots/hiver/statement"
    seen = world.ask("issuer", "GET", path, "finance")
    assert world.call("issuer", "POST", path, "finance", {"digest": seen["digest"]}).status_code == 409
    expiring.expire(world.services["redeemer"].runtime, clock.today() + timedelta(days=500))
    world.settle()
    seen = world.ask("issuer", "GET", path, "finance")
    agreed = world.ask("issuer", "POST", path, "finance", {"digest": seen["digest"]})
    total = agreed["figures"]["total"]
    assert (total["issued_cents"], total["used_cents"], total["expired_cents"]) == (5_000, 1_000, 4_000)
    assert envelope(world)["engaged_cents"] == 1_000
    world.settle()
    assert_balanced(world)


def grant_on(world: World, granted_on: date) -> list[str]:
    """The codes of a grant made on some day."""
    body = {"programme": "pass-numerique", "amount_cents": 5000, "reason": "e", "granted_on": granted_on.isoformat()}
    granted = world.ask("issuer", "POST", "/v1/grants", "prescriber", body, scope=world.prescriber)
    world.settle()
    return [cheque["code"] for cheque in granted["cheques"]]


def present(world: World, code: str, given_on: date) -> Any:
    body = {"codes": [code], "given_on": given_on.isoformat()}
    return world.call("redeemer", "POST", "/v1/redemptions", "structure", body, scope=world.structure)


def last_day(today: date, grace_left: int) -> date:
    """A day of grant such that 12 months and 30 days later the grace has so many days left."""
    for back in range(360, 430):
        day = today - timedelta(days=back)
        if clock.add_months(day, 12) + timedelta(days=30) == today + timedelta(days=grace_left):
            return day
    raise AssertionError("no such day this year")


@pytest.mark.parametrize(("grace_left", "outcome"), [(1, 201), (0, 201), (-1, 409)])
def test_a_workshop_given_in_time_is_presented_late_as_long_as_the_grace_lasts(
    world: World, grace_left: int, outcome: int
) -> None:
    granted_on = last_day(clock.today(), grace_left)
    valid_until = clock.add_months(granted_on, 12)
    early, late, *_ = grant_on(world, granted_on)
    assert present(world, early, valid_until).status_code == outcome
    answer = present(world, late, valid_until + timedelta(days=1))
    assert reasons(answer) == ["expired"]  # the workshop itself came too late, whatever the grace


def test_a_workshop_may_have_been_given_on_an_earlier_day_than_it_is_typed_but_not_before_the_grant(
    world: World, owner: sa.Engine
) -> None:
    granted_on = clock.today() - timedelta(days=20)
    first, second, third, *_ = grant_on(world, granted_on)
    assert present(world, first, granted_on).status_code == 201
    assert reasons(present(world, second, granted_on - timedelta(days=1))) == ["not-yet-spendable"]
    assert present(world, third, clock.today() + timedelta(days=1)).status_code == 422
    given = sa.text("SELECT given_on, (redeemed_at AT TIME ZONE 'Europe/Paris')::date FROM redeemer.redemption")
    with owner.connect() as connection:
        assert connection.execute(given).one() == (granted_on, clock.today())


def test_a_cheque_replaced_in_its_grace_pays_for_the_workshop_that_was_given_before(world: World) -> None:
    granted_on = last_day(clock.today(), 5)
    body = {"programme": "pass-numerique", "amount_cents": 5000, "reason": "e", "granted_on": granted_on.isoformat()}
    granted = world.ask("issuer", "POST", "/v1/grants", "prescriber", body, scope=world.prescriber)
    world.settle()
    request = report_lost(world, granted["cheques"][0])
    world.settle()
    new = look(world, request)["cheques"][0]["new_cheque"]["code"]
    assert present(world, new, clock.add_months(granted_on, 12)).status_code == 201
    world.settle()
    assert_balanced(world)
