"""Reasons that go with an event are read by other services: they may not say who a person is."""

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import Cheque
from services.issuer.grants.models import Grant
from services.issuer.people.identities import Identities, normalised
from services.issuer.people.models import Beneficiary
from shared.database import engine
from shared.problems import Invalid


def check_reason(session: Session, identities: Identities, cheque_ids: Collection[UUID], reason: str) -> None:
    """Raises Invalid where a reason holds the family name of a person whose cheques these are, however it is written.

    It is called in the transaction of what the reason is for, once it is known that the cheques are the caller's.
    """
    text = f" {normalised(reason)} "
    query = sa.select(Grant.beneficiary_id).join(Cheque, Cheque.grant_id == Grant.id)
    people = sa.select(Beneficiary).where(Beneficiary.id.in_(query.where(engine.among(Cheque.id, cheque_ids))))
    for person in session.scalars(people):
        if f" {normalised(identities.open(person).family_name)} " in text:
            fault = "It names the person: other services read it. Say it without the name."
            raise Invalid("The reason names somebody: see `errors`.", errors={"reason": [fault]})
