"""Every route with every role, and with tokens that are none: each answers as its line of the table says."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import pytest

from shared.access.permissions import Permission
from shared.access.tokens import ALL, OWN, SCOPED, Role
from shared.settings.settings import SERVICES
from shared.values.ids import new_id
from souche.keys import Signer
from tests.harness import ServiceUnderTest
from tests.permissions import prescribers, structures
from tests.permissions.asking import SAFE, TABLES, World, changed, contents
from tests.shared.access.calling import eventually_refused

WORLDS = {"issuer": prescribers.two_prescribers, "redeemer": structures.two_structures}
# What these must be asked with.
QUERIES = {"/v1/booklets": "?number=0000-0000", "/v1/lots/{code}/statement": ""}
FEWEST_CASES = {"issuer": 2_100, "redeemer": 1_200, "operator_bridge": 1_200}


class Try(NamedTuple):
    """A route asked for with some authorisation, and what is expected."""

    line: Permission
    how: str
    headers: dict[str, str]
    expected: int | None
    """The status; None: the door opens, whatever is behind it."""


@pytest.fixture(params=SERVICES)
def world(request: pytest.FixtureRequest, service: Callable[[str], ServiceUnderTest]) -> World:
    under_test = service(request.param)
    make = WORLDS.get(request.param)
    return make(under_test) if make else World(under_test, Role.PRESCRIBER, new_id(), new_id(), {}, set())


def lines(world: World) -> list[Permission]:
    return [line for line in TABLES[world.service.settings.service] if line.reach]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())}


def scope_of(world: World, role: Role) -> UUID | None:
    """The owner's, for its own role; somebody's for the other scoped one, which has nothing here."""
    if role not in SCOPED:
        return None
    return world.owner if role is world.role else new_id()


def by_role(world: World) -> Iterator[Try]:
    """With a good token of each role, of each service where the role is a service's."""
    for line in lines(world):
        for role in Role:
            for subject in SERVICES if role is Role.SERVICE else ("somebody",):
                token = world.service.token(role, scope_of(world, role), subject)
                opens = line.reach.get(role) in (ALL, OWN, subject)
                yield Try(line, f"{role} {subject}", bearer(token), None if opens else 403)


def unaccepted(world: World) -> Iterator[Try]:
    """With what is no good token, of each role to which the route would open."""
    taken_back = _revoked(world)
    signer, this = world.service.signer, world.service.settings.service
    others = [name for name in SERVICES if name != this]
    stranger = Signer.generate(signer.key_id)
    for line in lines(world):
        yield Try(line, "no token", {"Idempotency-Key": "k"}, 401)
        yield Try(line, "another scheme", {"Authorization": "Basic c29tZWJvZHk6cGFzcw=="}, 401)
        for role in line.reach:
            scope = scope_of(world, role)
            good = signer.token(role, scope, "operator_bridge")
            kinds = {
                "of other services": signer.token(role, scope, audience=others),
                "of no service": signer.token(role, scope, audience=()),
                "expired": signer.token(role, scope, lifetime=timedelta(minutes=-5)),
                "revoked": taken_back[role],
                "signed by a stranger": stranger.token(role, scope),
                "tampered with": f"{good[:-8]}AAAAAAAA",
                "without its signature": f"{good.rpartition('.')[0]}.",
            }
            yield from (Try(line, f"{role} {how}", bearer(token), 401) for how, token in kinds.items())


def _revoked(world: World) -> dict[Role, str]:
    """Tokens of each role that were good until all of their holder's were taken back."""
    service = world.service
    tokens = {role: service.token(role, scope_of(world, role), "operator_bridge|gone") for role in Role}
    body = {"kind": "subject", "value": "operator_bridge|gone", "reason": "Départ"}
    answer = service.app.test_client().post("/v1/revocations", json=body, headers=service.headers("admin"))
    assert answer.status_code == 201
    eventually_refused(service, tokens[Role.ADMIN], "/v1/revocations")
    return tokens


def ask(world: World, one: Try) -> int:
    """The status that a route answers with; what changes things is asked with ids of nothing, and a broken body."""
    safe = one.line.method == SAFE
    known = world.names if safe else {}
    names = {name: known.get(name, str(new_id())) for name in _names(one.line.path)}
    names |= {"version": "1"} if "version" in names else {}
    address = one.line.path.format_map(names) + (QUERIES.get(one.line.path, "") if safe else "")
    client = world.service.app.test_client()
    if safe:
        return client.get(address, headers=one.headers).status_code
    headers = one.headers | {"Content-Type": "application/json"}
    return client.open(address, method=one.line.method, headers=headers, data=b"{").status_code


def _names(path: str) -> list[str]:
    return [piece[1:-1] for piece in path.split("/") if piece.startswith("{")]


def as_expected(world: World, one: Try, status: int) -> bool:
    if one.expected is not None:
        return status == one.expected
    if one.line.method == SAFE and all(name in world.names for name in _names(one.line.path)):
        return status == 200
    return status < 500 and status not in (401, 403)


@pytest.mark.slow
def test_every_route_answers_every_role_and_every_bad_token_as_the_table_says(world: World) -> None:
    refused = [*unaccepted(world), *(one for one in by_role(world) if one.expected)]
    opened = [one for one in by_role(world) if one.expected is None]
    before = contents(world.service)
    answers = [(one, ask(world, one)) for one in refused]
    assert changed(before, contents(world.service)) == [], "something was done for those who were refused"
    answers += [(one, ask(world, one)) for one in opened]
    wrong = [
        f"{one.line.method} {one.line.path}, {one.how}: {status}, expected {one.expected or 'to open'}"
        for one, status in answers
        if not as_expected(world, one, status)
    ]
    assert not wrong, "\n".join(wrong)
    assert len(answers) >= FEWEST_CASES[world.service.settings.service]
    print(f"{world.service.settings.service}: {len(refused)} refused, {len(opened)} opened")
