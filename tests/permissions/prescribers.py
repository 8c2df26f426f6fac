"""Two prescribers at the issuer, who each granted, cancelled and replaced; and how one asks for what is the other's."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.issuer.lifecycle import expiry
from shared.access.tokens import Role
from shared.values import clock
from tests.harness import ServiceUnderTest
from tests.issuer.office import Office, cancelled, ids
from tests.permissions.asking import Case, World

ALIENOR = {"family_name": "Alpharde", "given_name": "Aliénor", "birth_date": "1961-03-09"}
BERTRAND = {"family_name": "Bétaille", "given_name": "Bertrand", "birth_date": "1972-05-11"}
BOTH_KNOW = {"family_name": "Commune", "given_name": "Camille", "birth_date": "1983-07-13"}
REFERENCE = "DOSSIER-ALPHA-1"
REASON = "Motif du guichet Alphaville."

# All that a prescriber's grants led to, by its id.
_MARKS = """
    WITH own AS (SELECT id, reference FROM cheque_grant WHERE prescriber_id = :owner),
         held AS (SELECT cheque.id FROM cheque JOIN own ON own.id = cheque.grant_id)
    SELECT CAST(id AS text) FROM own UNION SELECT reference FROM own WHERE reference IS NOT NULL
    UNION SELECT CAST(id AS text) FROM held
    UNION SELECT CAST(cancellation_id AS text) FROM cancellation_cheque JOIN held ON held.id = cheque_id
    UNION SELECT CAST(id AS text) FROM notice WHERE prescriber_id = :owner
"""


def two_prescribers(service: ServiceUnderTest) -> World:
    """The owner has grants, with something cancelled, something replaced and something about to expire."""
    office = Office(service)
    until = (clock.today() + timedelta(days=20)).isoformat()
    office.programme(validity={"until": until}, grace_days=5)
    convention = office.convention()
    envelope = office.under(convention, 90_000)
    office.made(office.post("/v1/lots", {"code": "pass", "name": "Campagne", "programme": "pass"}))
    client = office.made(office.post("/v1/oauth/clients", {"name": "Logiciel", "role": "finance"}))
    owner, other = office.prescriber_named("ccas-alphaville"), office.prescriber_named("ccas-betaville")
    grant = office.grant(scope=owner, beneficiary=ALIENOR, reference=REFERENCE, lot="pass")
    second_grant = office.grant(scope=owner, beneficiary=BOTH_KNOW)
    third_grant = office.grant(scope=owner)
    office.grant(scope=other, beneficiary=BERTRAND)
    office.grant(scope=other, beneficiary=BOTH_KNOW, exception_reason="Vu.")
    first, second, third, fourth, _ = ids(grant)
    cancellation = _ask(office, owner, "/v1/cancellations", cheque_ids=[first])
    replacement = _ask(office, owner, "/v1/replacements", cheque_ids=[second], cause="lost")
    office.tell(cancelled(replacement["replacement_id"], [second]))
    expiry.warn(service.runtime, clock.today() + timedelta(days=6))
    person = office.made(office.post("/v1/people/searches", ALIENOR, "prescriber", owner), 200)["person_id"]
    names = {
        "prescriber_id": str(owner),
        "grant_id": grant["grant_id"],
        "cancellation_id": cancellation["cancellation_id"],
        "replacement_id": replacement["replacement_id"],
        "person_id": person,
        "convention_id": convention,
        "envelope_id": envelope,
        "client_id": client["client_id"],
        "code": "pass",
        "version": "1",
    }
    codes = {cheque["code"] for cheque in grant["cheques"]}
    marks = {str(owner), person, REASON, "ccas-alphaville", "Alpharde", *codes}
    with service.runtime.transaction() as session:
        marks |= set(session.scalars(sa.text(_MARKS), {"owner": owner}))
    extra = {
        "cheque": third,
        "another": fourth,
        "second": second_grant["grant_id"],
        "third": third_grant["grant_id"],
        "number": _number(grant["grant_id"]),
    }
    return World(service, Role.PRESCRIBER, owner, other, names, marks, extra)


def _ask(office: Office, scope: UUID, path: str, **what: Any) -> Any:
    return office.made(office.post(path, what | {"reason": REASON}, "prescriber", scope), 202)


def _number(grant_id: str) -> str:
    return f"{grant_id[-8:-4]}-{grant_id[-4:]}".upper()


def grants_for(prescriber: str) -> dict[str, Any]:
    """An order in a prescriber's name."""
    return {"programme": "pass", "amount_cents": 5000, "reason": "Vu.", "prescriber_id": prescriber}


def cases(world: World) -> Iterator[Case]:
    """Every way to name the owner's things, on every route where a prescriber has only its own.

    Those that change most come last, so that the owner can do all of them in this order.
    """
    grant, cheque, person = world.names["grant_id"], world.extra["cheque"], ALIENOR
    for method, path in (
        ("GET", "/v1/prescribers/{prescriber_id}"),
        ("GET", "/v1/grants/{grant_id}"),
        ("GET", "/v1/grants/{grant_id}/codes"),
        ("GET", "/v1/grants/{grant_id}/booklet.pdf"),
        ("GET", "/v1/grants/{grant_id}/booklet.html"),
        ("GET", "/v1/cancellations/{cancellation_id}"),
        ("GET", "/v1/replacements/{replacement_id}"),
        ("GET", "/v1/people/{person_id}"),
        ("GET", "/v1/people/{person_id}/export.json"),
        ("GET", "/v1/people/{person_id}/letter.pdf"),
    ):
        yield Case(method, path)
    for path, query in (
        ("/v1/grants", ""),
        ("/v1/grants", "?programme=pass&lot=pass"),
        ("/v1/grants", f"?after={'0' * 8}-0000-0000-0000-{'0' * 12}&limit=200"),
        ("/v1/grants/export.csv", ""),
        ("/v1/booklets", f"?number={world.extra['number']}"),
        ("/v1/replacements", ""),
        ("/v1/replacements", f"?grant_id={grant}"),
        ("/v1/notices", ""),
        ("/v1/notices", f"?subject_id={grant}"),
        ("/v1/expiring/grants.csv", "?days=60"),
        ("/v1/expiring", "?days=60"),
    ):
        yield Case("GET", path, query, refused=False)
    yield Case("POST", "/v1/people/searches", body=person)
    yield Case("POST", "/v1/booklets", body={"grant_ids": [grant]})
    yield Case("POST", "/v1/booklets", body={"programme": "pass"}, refused=False)
    order = grants_for(str(world.owner))
    yield Case("POST", "/v1/grants", body=order, status=422)
    noticed = frozenset({"grant_import"})  # the asker's own file, by a digest of its own
    yield Case("POST", "/v1/grants/bulk", body=[order], refused=False, leaves=noticed)
    yield Case("POST", "/v1/grants/bulk", "?mode=all-or-nothing", body=[order | {"target_public": "x"}], status=422)
    line = f"programme,amount_cents,reason,prescriber_id\npass,5000,Vu.,{world.owner}\n".encode()
    yield Case("POST", "/v1/grants/bulk", body=line, refused=False, leaves=noticed)
    why = {"reason": "Vu."}
    for path in ("/v1/blocks", "/v1/unblocks"):
        yield Case("POST", path, body={"cheque_ids": [cheque]} | why)
    yield Case("POST", "/v1/cancellations", body={"cheque_ids": [cheque]} | why)
    yield Case("POST", "/v1/replacements", body={"cheque_ids": [world.extra["another"]], "cause": "lost"} | why)
    yield Case("POST", "/v1/replacements", body={"grant_id": world.extra["second"], "cause": "stolen"} | why)
    yield Case("POST", "/v1/cancellations", body={"grant_id": grant, "amount_cents": 1000} | why)
    yield Case("POST", "/v1/cancellations", body={"grant_id": world.extra["third"]} | why)
    yield Case("PUT", "/v1/people/{person_id}/identity", body=person)
    yield Case("POST", "/v1/people/{person_id}/erasure")
