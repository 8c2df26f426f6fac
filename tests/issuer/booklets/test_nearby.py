"""The nearest places that take a programme's cheques, from what the redeemer and the bridge tell in any order."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from services.issuer.booklets import nearby
from services.issuer.prescribers.models import Prescriber
from services.issuer.programmes.models import Programme
from shared.values import clock
from shared.values.ids import new_id
from tests.issuer.neighbourhood import Told, affiliated, contract, described, suspended
from tests.issuer.office import Office, places

AGEN = {"latitude": 44.2031, "longitude": 0.6163}
TODAY = clock.today()
DAY = timedelta(days=1)


@pytest.fixture
def desk(office: Office) -> Office:
    """An office whose prescriber is in the middle of Agen."""
    coordinates = {name: str(value) for name, value in AGEN.items()}
    assert office.prescriber  # taken in without coordinates, and now again with them
    office.made(office.post("/v1/prescribers/imports", places("ccas-agen", **coordinates)), 200)
    return office


def near(office: Office, *told: Told, programme: str = "pass") -> list[str]:
    """The names of the nearest places after this news."""
    office.tell(*told)
    return [found.name for found in found_near(office, programme)]


def found_near(office: Office, programme: str = "pass") -> Sequence[Any]:
    """The nearest places to the office's prescriber."""
    with office.service.runtime.transaction() as session:
        programme_id = session.scalars(sa.select(Programme.id).where(Programme.code == programme)).one()
        pair = (session.get_one(Prescriber, office.prescriber).id, programme_id)
        return nearby.nearest(session, [pair], TODAY)[pair]


def many(contract_id: UUID, **kilometres: float) -> list[Told]:
    """Places so far north of the prescriber, by name."""
    return [
        affiliated(contract_id, name, latitude=AGEN["latitude"] + km / 111.2, longitude=AGEN["longitude"])
        for name, km in kilometres.items()
    ]


def test_the_nearest_come_first_and_no_more_than_a_page_takes(desk: Office) -> None:
    one = new_id()
    told = many(one, seventh=70, third=30, first=1, second=2, sixth=60, fifth=50, fourth=40)
    assert near(desk, contract(one), *told) == ["first", "second", "third", "fourth", "fifth", "sixth"]
    assert [round(found.km or 0) for found in found_near(desk)[:3]] == [1, 2, 30]


def test_without_coordinates_the_same_postcode_is_near_and_another_departement_is_left_out(desk: Office) -> None:
    one = new_id()
    told = [
        affiliated(one, "elsewhere", postcode="33000"),
        affiliated(one, "same département", postcode="47300"),
        affiliated(one, "same postcode"),
        *many(one, close=1, far=20),
    ]
    assert near(desk, contract(one), *told) == ["close", "same postcode", "far", "same département"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_contract_may_be_told_of_before_or_after_its_structures(desk: Office, order: int) -> None:
    one, other = new_id(), new_id()
    told = [contract(one), contract(other, "other"), affiliated(one, "ours"), affiliated(other, "theirs")]
    assert near(desk, *told[::order]) == ["ours"]


def test_a_suspended_structure_leaves_and_comes_back(desk: Office) -> None:
    one, structure = new_id(), new_id()
    assert near(desk, contract(one), affiliated(one, "Atelier", structure)) == ["Atelier"]
    assert near(desk, suspended(structure)) == []
    assert near(desk, described(structure, "Atelier neuf")) == []
    assert near(desk, affiliated(one, "Atelier neuf", structure)) == ["Atelier neuf"]


def test_a_structure_that_moved_is_shown_where_it_is_now(desk: Office) -> None:
    one, structure = new_id(), new_id()
    desk.tell(contract(one), affiliated(one, "Atelier", structure))
    desk.tell(described(structure, "Atelier", address="9 quai du Canal"))
    assert [found.address for found in found_near(desk)] == ["9 quai du Canal"]


@pytest.mark.parametrize(
    ("starts", "ends", "shown"), [(0, None, True), (-9, 0, True), (-9, -1, False), (1, None, False)]
)
def test_only_who_takes_cheques_today_is_shown(desk: Office, starts: int, ends: int | None, shown: bool) -> None:
    one = new_id()
    days: dict[str, Any] = {
        "starts_on": TODAY + starts * DAY,
        "ends_on": None if ends is None else TODAY + ends * DAY,
    }
    assert near(desk, contract(one), affiliated(one, "Atelier", **days)) == (["Atelier"] if shown else [])


def test_a_structure_of_several_contracts_is_shown_once(desk: Office) -> None:
    one, other, structure = new_id(), new_id(), new_id()
    told = [affiliated(contract_id, "Atelier", structure) for contract_id in (one, other, one)]
    assert near(desk, contract(one), contract(other), *told) == ["Atelier"]


def test_a_programmes_territory_bounds_its_places_and_who_offers_its_services_comes_first(desk: Office) -> None:
    desk.programme("bounded", services=["Ordinateur"], territory=["472", "47001"])
    one = new_id()
    told = [
        affiliated(one, "another service", services=["Autre"]),
        affiliated(one, "its service", services=["ordinateur", "Autre"]),
        affiliated(one, "place", services=["Ordinateur"], postcode="47300", insee_code="47323"),
    ]
    assert near(desk, contract(one, "bounded"), *told, programme="bounded") == ["its service", "another service"]


def test_news_from_before_places_were_told_of_takes_no_place_away(desk: Office) -> None:
    one, structure = new_id(), new_id()
    bare = dict.fromkeys(("address", "postcode", "commune", "insee_code", "services"))
    desk.tell(contract(one), affiliated(one, "Atelier", structure))
    desk.tell(affiliated(one, "Atelier du Pont", structure, **bare))
    assert [(found.name, found.postcode) for found in found_near(desk)] == [("Atelier du Pont", "47000")]
