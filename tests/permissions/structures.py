"""Two structures at the redeemer, who each redeemed and are owed; and how one asks for what is the other's."""

from collections.abc import Iterator

import sqlalchemy as sa

from shared.access.tokens import Role
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.permissions.asking import Case, World
from tests.redeemer.books import Books
from tests.redeemer.conftest import Till, day

_MARKS = """
    SELECT unnest(ARRAY[id, presentation_id, cheque_id]::text[]) FROM redemption WHERE structure_id = :owner
    UNION SELECT CAST(id AS text) FROM statement WHERE structure_id = :owner
    UNION SELECT CAST(payment.id AS text)
        FROM payment JOIN statement ON statement.id = payment.statement_id WHERE structure_id = :owner
"""


def two_structures(service: ServiceUnderTest) -> World:
    """The owner has redemptions on a statement of which a part is paid, and one that can still be taken back."""
    till = Till(service)
    till.tell_contract(till.contract)
    owner = till.structure = till.affiliated("alphacampus")
    books = Books(till)
    books.spend(2)
    [statement] = books.issue(structure_id=str(owner))
    books.paid(statement, "10", "MANDAT-ALPHA")
    [cheque] = till.issue(1)
    [redemption] = till.present([cheque.code]).get_json()["redemptions"]
    other = till.structure = till.affiliated("betacampus")
    books.spend(1)
    [theirs] = books.issue(structure_id=str(other))
    books.paid(theirs, "5", "MANDAT-BETA")
    client = till.post("/v1/oauth/clients", "admin", {"name": "Logiciel", "role": "finance"}).get_json()
    names = {
        "structure_id": str(owner),
        "redemption_id": redemption["redemption_id"],
        "statement_id": statement["statement_id"],
        "client_id": client["client_id"],
    }
    with service.runtime.transaction() as session:
        marks = set(session.scalars(sa.text(_MARKS), {"owner": owner}))
    marks |= {str(owner), "alphacampus", "MANDAT-ALPHA", statement["number"]}
    return World(service, Role.STRUCTURE, owner, other, names, marks, {"code": cheque.code})


def cases(world: World) -> Iterator[Case]:
    """Every way to name the owner's things, on every route where a structure has only its own."""
    owner, statement, code = world.owner, world.names["statement_id"], world.extra["code"]
    for path in (
        "/v1/redemptions/{redemption_id}",
        "/v1/structures/{structure_id}",
        "/v1/statements/{statement_id}",
        "/v1/statements/{statement_id}/statement.csv",
        "/v1/statements/{statement_id}/statement.pdf",
    ):
        yield Case("GET", path)
    later = day(200).isoformat()
    for path, query in (
        ("/v1/redemptions", ""),
        ("/v1/redemptions", f"?structure_id={owner}"),
        ("/v1/redemptions/export.csv", f"?structure_id={owner}"),
        ("/v1/structures", ""),
        ("/v1/statements", f"?structure_id={owner}"),
        ("/v1/statements/export.csv", f"?structure_id={owner}"),
        ("/v1/payments", ""),
        ("/v1/payments", f"?statement_id={statement}"),
        ("/v1/late-payments", f"?on={later}"),
        ("/v1/late-payments/export.csv", f"?on={later}"),
    ):
        yield Case("GET", path, query, refused=False)
    yield Case("POST", "/v1/checks", body={"code": code}, refused=False)
    yield Case("POST", "/v1/redemptions", body={"codes": [code]}, status=409)
    yield Case("POST", "/v1/redemptions/{redemption_id}/reversal", body={"reason": f"Erreur {new_id()}."})
