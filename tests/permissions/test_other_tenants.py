"""What belongs to another prescriber or structure does not exist: it cannot be read, changed or heard of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import pytest

from shared.access.permissions import Permission
from shared.access.tokens import OWN, Role
from tests.harness import ServiceUnderTest
from tests.permissions import prescribers, structures
from tests.permissions.asking import SAFE, TABLES, Case, World, changed, contents, given_away, send


@dataclass(frozen=True)
class Tenancy:
    """How two of a kind come about, and what one may try on the other."""

    service: str
    make: Callable[[ServiceUnderTest], World]
    cases: Callable[[World], Iterator[Case]]


TENANCIES = (
    Tenancy("issuer", prescribers.two_prescribers, prescribers.cases),
    Tenancy("redeemer", structures.two_structures, structures.cases),
)
# What is no list: the answer is a verdict, or of sums alone, in which nobody's things can be told apart.
_WITHOUT_MARKS = {("GET", "/v1/expiring"), ("POST", "/v1/checks"), ("POST", "/v1/redemptions"), ("POST", "/v1/blocks")}


@pytest.fixture(params=TENANCIES, ids=[tenancy.service for tenancy in TENANCIES])
def tenancy(request: pytest.FixtureRequest) -> Tenancy:
    found: Tenancy = request.param
    return found


@pytest.fixture
def world(tenancy: Tenancy, service: Callable[[str], ServiceUnderTest]) -> World:
    return tenancy.make(service(tenancy.service))


def owned(table: tuple[Permission, ...], role: Role) -> set[tuple[str, str]]:
    return {one.route for one in table if one.reach.get(role) == OWN}


def widened(world: World, cases: list[Case]) -> list[Case]:
    """The same lists, asked for with every parameter that might be taken for a filter by owner."""
    asked = {name: str(world.owner) for name in ("prescriber_id", "structure_id", "owner", "scope")}
    return [
        Case(case.method, case.path, f"{case.query}{'&' if case.query else '?'}{urlencode(asked)}", refused=False)
        for case in cases
        if case.method == SAFE and not case.refused
    ]


def test_every_line_of_ones_own_is_tried(world: World, tenancy: Tenancy) -> None:
    tried = {case.route for case in tenancy.cases(world)}
    assert tried == owned(TABLES[tenancy.service], world.role)


def test_nobody_gets_at_what_is_anothers(world: World, tenancy: Tenancy) -> None:
    cases = list(tenancy.cases(world))
    faults, before = [], contents(world.service)
    for case in [*cases, *widened(world, cases)]:
        answer = send(world, case, world.other)
        if answer.status_code != (case.status if case.refused else 200):
            faults.append(f"{case} answers {answer.status_code}: {answer.text[:300]}")
        if told := given_away(world, case, answer):
            faults.append(f"{case} gives away {told}")
        after = contents(world.service)
        if touched := set(changed(before, after)) - case.leaves:
            faults.append(f"{case} changes {touched}")
        before = after
    assert not faults, "\n".join(faults)


def test_what_is_there_and_what_is_not_are_refused_alike(world: World, tenancy: Tenancy) -> None:
    """Else somebody could find out which identifiers there are."""
    nowhere = dict.fromkeys(world.names, "018f0000-0000-7000-8000-000000000000")
    for case in tenancy.cases(world):
        if case.refused and case.status == 404 and "{" in case.path:
            there = send(world, case, world.other)
            absent = send(replace(world, names=nowhere), case, world.other)
            assert (there.status_code, there.get_json()["type"]) == (absent.status_code, absent.get_json()["type"]), (
                case
            )


def test_the_owner_gets_all_of_it(world: World, tenancy: Tenancy) -> None:
    """So what is refused above is refused for whose it is, and for nothing else."""
    faults = []
    for case in tenancy.cases(world):
        answer = send(world, case, world.owner)
        if case.route == ("POST", "/v1/redemptions"):
            continue  # the cheque is spent, for its owner too
        if answer.status_code >= 300:
            faults.append(f"{case} answers {answer.status_code}: {answer.text[:300]}")
        elif case.method == SAFE and case.route not in _WITHOUT_MARKS and not given_away(world, case, answer):
            faults.append(f"{case} says nothing that would give the owner away: {answer.text[:300]}")
    assert not faults, "\n".join(faults)


def test_another_prescribers_reference_and_key_lead_to_nothing_of_its_own(issuer: ServiceUnderTest) -> None:
    """Both are the caller's own words: the other's answer, codes and all, is not for whoever knows them."""
    world = prescribers.two_prescribers(issuer)
    body = {"programme": "pass", "amount_cents": 5000, "reason": "Vu.", "reference": "DOSSIER-2"}
    asked = []
    for scope in (world.owner, world.other):
        headers = issuer.headers("prescriber", scope, subject="logiciel", key="one-key")
        asked.append(issuer.app.test_client().post("/v1/grants", json=body, headers=headers))
    assert [answer.status_code for answer in asked] == [201, 201]
    first, second = (answer.get_json() for answer in asked)
    assert (second["prescriber_id"], second["already"]) == (str(world.other), False)
    assert not {cheque["code"] for cheque in first["cheques"]} & {cheque["code"] for cheque in second["cheques"]}
    assert first["grant_id"] != second["grant_id"]
