"""The sample world: its figures are the design's, its files are right, its plan is always the same."""

from datetime import date

import pytest

from demo.world.world import World
from shared.places.reader import read_places

TODAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def world() -> World:
    return World.read(TODAY)


def test_eight_funders_bring_exactly_300_000_euros(world: World) -> None:
    assert len({convention["funder"] for convention, _ in world.conventions}) == 8
    assert sum(envelope["amount_cents"] for _, envelope in world.conventions) == 300_000_00


def test_the_year_has_4_000_grants_that_make_23_000_cheques(world: World) -> None:
    grants = world.plan_grants()
    assert len(grants) == 4_000
    assert sum(grant.amount_cents for grant in grants) == 23_000 * world.programme["face_value_cents"]


def test_grants_are_spread_over_fourteen_months_and_39_advisers(world: World) -> None:
    grants = world.plan_grants()
    assert {grant.adviser for grant in grants} == set(range(39))
    assert min(grant.granted_on for grant in grants) < date(2025, 10, 1)
    assert max(grant.granted_on for grant in grants) <= TODAY


def test_the_answers_of_every_grant_have_the_points_of_its_amount(world: World) -> None:
    rule = world.programme["assessment"]
    points_of = {question["key"]: question["answers"] for question in rule["questions"]}
    for grant in world.plan_grants():
        points = sum(points_of[key][answer] for key, answer in grant.answers.items())
        reached = [step["cents"] for step in rule["amounts"] if step["from_points"] <= points]
        assert reached[-1] == grant.amount_cents


def test_some_people_come_back(world: World) -> None:
    people = [grant.person for grant in world.plan_grants()]
    assert 0.9 < len(set(people)) / len(people) < 1


def test_the_plan_is_the_same_in_every_run() -> None:
    assert World.read(TODAY).plan_grants() == World.read(TODAY).plan_grants()


def test_a_smaller_world_has_fewer_grants_of_every_amount() -> None:
    grants = World.read(TODAY, 0.01).plan_grants()
    assert len(grants) == 40
    assert {grant.amount_cents for grant in grants} == {5000, 6000, 8000, 10000}


def test_nobody_takes_over_from_itself_and_who_died_never_comes_back(world: World) -> None:
    operators = [world.described["contract"]["operator"], *(each["operator"] for each in world.successors)]
    assert len(set(operators)) == len(operators)
    assert [each["mode"] for each in world.successors] == ["failure", "handover"]


def test_most_cheques_are_spent_before_anything_happens_to_the_operator(world: World) -> None:
    assert sum(each["spent_meanwhile"] for each in world.successors) < world.described["use"]["at_our_tills"] / 2


@pytest.mark.parametrize(("kind", "number"), [("structures", 25), ("prescribers", 30)])
def test_every_place_is_taken_with_a_siret_of_its_own(world: World, kind: str, number: int) -> None:
    reading = read_places(world.places(kind))
    assert (len(reading.places), reading.version, reading.refused, reading.remarks) == (number, "v1", (), ())
    assert len({place.siret for place in reading.places}) == number


@pytest.mark.parametrize("kind", ["structures", "prescribers"])
def test_every_place_is_in_the_departement_and_says_that_it_is_invented(world: World, kind: str) -> None:
    text = world.places(kind).decode()
    for place in read_places(world.places(kind)).places:
        assert place.postcode.startswith("47")
        assert (place.insee_code or "").startswith("47")
        assert 43.9 < (place.latitude or 0) < 44.8
        assert -0.2 < (place.longitude or 9) < 1.1
    assert text.count("Souche (lieu inventé)") == len(read_places(text.encode()).places)
