"""What the issuer gives a redeemer that was restored from a backup."""

from uuid import UUID

import sqlalchemy as sa

from shared.values.ids import new_id
from tests.issuer.office import Office

_REDEEM = sa.text("INSERT INTO redemption (id, cheque_id, structure_id, redeemed_on) VALUES (:id, :cheque, :id, :day)")


def test_the_mirrored_redemptions_are_given_by_page_to_the_redeemer_alone(office: Office) -> None:
    office.envelope(100_000)
    cheques = [cheque["cheque_id"] for cheque in office.grant()["cheques"]][:2]
    ids = sorted(new_id() for _ in cheques)
    with office.service.runtime.transaction() as session:
        for redemption_id, cheque_id in zip(ids, cheques, strict=True):
            session.execute(_REDEEM, {"id": redemption_id, "cheque": cheque_id, "day": "2026-03-01"})

    def page(after: UUID) -> list[tuple[str, str, int]]:
        headers = office.service.headers("service", subject="redeemer")
        answer = office.service.client.get(f"/v1/recollections/redemptions?after={after}", headers=headers)
        items = office.made(answer, 200)["items"]
        return [(item["redemption_id"], item["cheque_id"], item["amount_cents"]) for item in items]

    found = [(str(redemption_id), cheque, 1000) for redemption_id, cheque in zip(ids, cheques, strict=True)]
    assert page(UUID(int=0)) == found
    assert page(ids[0]) == found[1:]
    assert page(ids[1]) == []
    assert office.get("/v1/recollections/redemptions").status_code == 403
