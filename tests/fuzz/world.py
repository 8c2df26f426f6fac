"""A small world in each service, and what is known of it: real identifiers for requests that are made up."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from shared.access.tokens import SCOPED, Role
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.issuer import office as issuing
from tests.operator_bridge.conftest import Office as Bureau
from tests.redeemer.books import MONTH_BEFORE, Books, noon
from tests.redeemer.conftest import Till, day

KEPT_OF_EACH = 40
_NAMED = {"code", "programme", "lot", "funder", "kind", "operator", "month", "state", "outcome", "version"}


class World:
    """A service with things in it, whose identifiers are learnt from its own answers."""

    def __init__(self, service: ServiceUnderTest, scopes: dict[Role, UUID]) -> None:
        self.service = service
        self.known: dict[str, list[Any]] = defaultdict(list)
        self._scopes = scopes
        self._tokens: dict[tuple[Role, bool], str] = {}
        self._document = service.client.get("/openapi.json").get_json()
        self.browse()

    def token(self, role: Role, *, foreign: bool = False) -> str:
        """A token of a role: of somebody with things here, or of somebody without."""
        if (role, foreign) not in self._tokens:
            scope = (new_id() if foreign else self._scopes.get(role, new_id())) if role in SCOPED else None
            self._tokens[role, foreign] = self.service.token(role, scope, subject="fuzz")
        return self._tokens[role, foreign]

    def browse(self) -> None:
        """Learns what all lists show."""
        for path, item in self._document["paths"].items():
            operation = item.get("get", {})
            if "x-roles" in operation and "{" not in path:
                role = Role(
                    next(one for one in ("admin", "service", *operation["x-roles"]) if one in operation["x-roles"])
                )
                answer = self.service.app.test_client().get(path, headers=self._bearer(role))
                if answer.is_json:
                    self.learn(answer.get_json())

    def addresses(self, path: str) -> list[str]:
        """A path with what is known in its place; none where nothing is."""
        names = [piece[1:-1] for piece in path.split("/") if piece.startswith("{")]
        if not names:
            return [path]
        return [path.replace(f"{{{names[0]}}}", str(value)) for value in self.known[names[0]] if len(names) == 1]

    def _bearer(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role)}"}

    def learn(self, shown: Any) -> None:
        """Remembers the identifiers and names in an answer, by what they are called."""
        for name, value in _members(shown):
            known = self.known[name]
            if value not in known and len(known) < KEPT_OF_EACH:
                known.append(value)


def _members(shown: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(shown, list):
        for item in shown:
            yield from _members(item)
    elif isinstance(shown, dict):
        for name, value in shown.items():
            if isinstance(value, str | int) and (name.endswith("_id") or name in _NAMED):
                yield name, value
            else:
                yield from _members(value)


def issuer_world(service: ServiceUnderTest) -> World:
    """Programmes, conventions, envelopes, a lot, prescribers, grants in all states, people, replacements."""
    office = issuing.Office(service)
    office.programme()
    office.programme("ordi", face_value_cents=2_500)
    convention = office.convention(amount_cents=10_000_000)
    office.under(convention, 5_000_000)
    office.envelope(5_000_000)
    office.envelope(5_000_000, "ordi")
    office.prescriber_named("other")
    office.made(office.post("/v1/lots", {"code": "lot-1", "name": "Premier lot", "programme": "pass"}))
    grants = [office.grant(beneficiary=issuing.ALICE, reference="dossier-1"), office.grant(lot="lot-1"), office.grant()]
    grants += [office.grant(target_public="seniors") for _ in range(3)]
    office.tell(issuing.redeemed(issuing.ids(grants[0])[:2]), issuing.expired(issuing.ids(grants[3])))
    prescriber = ("prescriber", office.prescriber)
    lost = {"cheque_ids": issuing.ids(grants[4])[:1], "reason": "Lost.", "cause": "lost"}
    office.made(office.post("/v1/replacements", lost, *prescriber), 202)
    office.post("/v1/cancellations", {"grant_id": grants[5]["grant_id"], "reason": "Mistake."}, *prescriber)
    office.made(office.post("/v1/memberships", {"provider": "p", "subject": "s", "role": "admin"}))
    client = office.made(office.post("/v1/oauth/clients", {"name": "Sums", "role": "finance"}))["client_id"]
    office.made(office.post(f"/v1/oauth/clients/{client}/secrets", {}))
    world = World(service, {Role.PRESCRIBER: office.prescriber})
    for grant in grants:
        world.learn(office.made(office.get(f"/v1/grants/{grant['grant_id']}"), 200))
    world.learn(office.post("/v1/people/searches", issuing.ALICE).get_json())
    return world


def redeemer_world(service: ServiceUnderTest) -> World:
    """Structures, affiliations, cheques in all states, redemptions, statements, payments, corrections."""
    till = Till(service)
    till.tell_contract(till.contract)
    till.structure = till.affiliated("s1")
    books = Books(till)
    books.spend(2, noon(MONTH_BEFORE))
    [earlier] = books.issue(MONTH_BEFORE)
    on_statement = books.spend(3)
    [statement] = books.issue()
    books.correct(on_statement[0], 0)
    books.pay(f"{earlier['number']};20,00;{day(0)};M1;", f"{statement['number']};5,00;{day(0)};M2;")
    cheques = till.issue(6)
    till.present([one.code for one in cheques[:2]])
    world = World(service, {Role.STRUCTURE: till.structure})
    world.known["code"] = [one.code for one in cheques]
    world.known["codes"] = world.known["code"]
    return world


def bridge_world(service: ServiceUnderTest, codes: dict[str, str]) -> World:
    """Contracts in all states, orders, links, redemptions, discrepancies, a reconciliation."""
    office = Bureau(service, codes)
    contract = office.contract()
    office.contract("regie", code="second")
    office.contract("regie", "draft", code="third")
    cheques = office.issue(5)
    office.affiliate(contract)
    office.push_all(contract)
    office.redeem(cheques[:2])
    office.issue(2)
    office.post("/v1/reconciliations", {"contract_id": str(contract)})
    service.client.post(f"/v1/contracts/{contract}/polls", headers=service.headers("operations"))
    return World(service, {})
