"""A second programme, by data alone: a computer for a collégien, one cheque of a variable value, at other shops."""

from typing import Any
from uuid import UUID

from werkzeug.test import TestResponse

from tests.journey.conftest import PLACE, World
from tests.journey.test_whole_path import assert_balanced

SERVICE = "Ordinateur reconditionné"
PROGRAMME: dict[str, Any] = {
    "code": "ordinateur-collegien",
    "name": "Un ordinateur pour le collège",
    "single_cheque": True,
    "face_value_cents": 500,
    "minimum_grant_cents": 5_000,
    "validity": {"until": "2099-08-31"},
    "grace_days": 15,
    "services": [SERVICE],
    "territory": ["47"],
    "assessment": {
        "questions": [
            {
                "key": "grant",
                "label": "Bourse de collège ?",
                "answers": {"échelon 3": 3, "échelon 1 ou 2": 1, "non": 0},
            },
            {"key": "home", "label": "Un ordinateur au foyer ?", "answers": {"oui": 0, "non": 2}},
        ],
        "conditions": [
            {"when": {"home": ["oui"], "grant": ["non"]}, "cents": 0},
            {"from_points": 4, "cents": 30_000},
            {"when": {"home": ["non"]}, "cents": 17_500},
            {"cents": 8_500},
        ],
        "per_person": {"grants": 1, "period": {"months": 48}, "exceeding": {"roles": ["admin"]}},
    },
}
ENVELOPE = {
    "programme": "ordinateur-collegien",
    "funder": "Fonds départemental",
    "convention_reference": "COLLEGE-2026",
    "amount_cents": 70_000,
    "starts_on": "2020-01-01",
    "ends_on": "2099-12-31",
    "target_publics": ["collégiens"],
}
SHOP = "s2,82854918800021,Recyclerie,Agen,47000,3 rue du Port,2026-01-05,Prêt de matériel\n"
PUPIL = {"family_name": "Durand", "given_name": "Lou", "birth_date": "2013-05-04"}


def prepared(world: World) -> UUID:
    """Declares the programme, its money, its contract and its one shop; returns the shop."""
    world.ask("issuer", "POST", "/v1/programmes", "admin", PROGRAMME)
    world.ask("issuer", "POST", "/v1/envelopes", "admin", ENVELOPE)
    world.ask("redeemer", "POST", "/v1/structures/imports", "admin", PLACE + SHOP)
    places = world.ask("redeemer", "GET", "/v1/structures", "admin")["items"]
    shop = UUID(next(place["structure_id"] for place in places if place["source_id"] == "s2"))
    terms = {"code": "regie-college", "operator": "regie", "programme": PROGRAMME["code"], "starts_on": "2026-01-01"}
    contract = world.ask("operator_bridge", "POST", "/v1/contracts", "admin", terms)["contract_id"]
    world.ask("operator_bridge", "POST", f"/v1/contracts/{contract}/state", "admin", {"state": "live"})
    world.settle()
    body = {"structure_id": str(shop), "contract_id": contract, "starts_on": "2026-01-01"}
    world.ask("redeemer", "POST", "/v1/affiliations", "admin", body)
    world.settle()
    return shop


def grant(world: World, person: dict[str, str], **answers: str) -> TestResponse:
    """What a grant to a pupil by these answers is answered."""
    body = {"programme": PROGRAMME["code"], "target_public": "collégiens", "beneficiary": person, "answers": answers}
    return world.call("issuer", "POST", "/v1/grants", "prescriber", body, scope=world.prescriber)


def present(world: World, code: str, structure: UUID, service: str = SERVICE) -> tuple[int, Any]:
    """What a till answers: its status, and the total or the reason of the refusal."""
    body = {"codes": [code], "service": service}
    answer = world.call("redeemer", "POST", "/v1/redemptions", "structure", body, scope=structure)
    told = answer.get_json()
    return answer.status_code, told["total_cents"] if answer.status_code == 201 else told["refusals"][0]["reason"]


def test_a_computer_is_granted_as_one_cheque_and_spent_at_its_own_shop(world: World) -> None:
    shop = prepared(world)
    body = {"programme": PROGRAMME["code"], "answers": {"grant": "échelon 3", "home": "non"}, "beneficiary": PUPIL}
    seen = world.ask("issuer", "POST", "/v1/assessments", "prescriber", body, scope=world.prescriber)
    assert (seen["amount_cents"], seen["cheques"], seen["per_person"]["verdict"]) == (30_000, [30_000], "allowed")

    made = grant(world, PUPIL, grant="échelon 3", home="non").get_json()
    [cheque] = made["cheques"]
    assert (made["rule_version"], cheque["value_cents"]) == (1, 30_000)
    again = grant(world, PUPIL, grant="non", home="non")
    assert (again.status_code, again.get_json()["type"]) == (409, "urn:souche:person-limit-exceeded")
    world.settle()

    assert present(world, cheque["code"], world.structure) == (409, "unknown-code")
    assert present(world, cheque["code"], shop, "Atelier") == (409, "service-not-covered")
    assert present(world, cheque["code"], shop) == (201, 30_000)
    assert present(world, cheque["code"], shop) == (409, "already-redeemed")
    world.settle()
    assert_balanced(world)


def test_one_cheque_needs_one_envelope_that_has_all_of_it(world: World) -> None:
    prepared(world)
    granted = [grant(world, PUPIL | {"given_name": name}, grant="échelon 3", home="non") for name in "ABC"]
    assert [answer.status_code for answer in granted] == [201, 201, 409]
    assert granted[2].get_json()["type"] == "urn:souche:envelope-exhausted"
    smaller = grant(world, PUPIL | {"given_name": "C"}, grant="échelon 1 ou 2", home="oui").get_json()
    assert [cheque["value_cents"] for cheque in smaller["cheques"]] == [8_500]
    world.settle()
    assert_balanced(world)


def test_the_two_programmes_do_not_touch_each_other(world: World) -> None:
    shop = prepared(world)
    ateliers = world.grant()["cheques"]
    grant(world, PUPIL, grant="non", home="non")
    world.settle()
    assert present(world, ateliers[0]["code"], shop) == (409, "unknown-code")
    assert world.present(ateliers[0]["code"]).status_code == 201
    engaged = {
        envelope["programme"]: envelope["engaged_cents"]
        for envelope in world.ask("issuer", "GET", "/v1/envelopes", "finance")["items"]
    }
    assert engaged == {"pass-numerique": 5_000, "ordinateur-collegien": 17_500}
    world.settle()
    assert_balanced(world)
