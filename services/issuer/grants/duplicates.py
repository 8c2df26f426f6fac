"""Repeats: under one reference of a prescriber there is one grant, ever, and who asks again is given that one.

A repeat is held against the rule that the grant was made by, not against what the programme says by now.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.grants.models import Grant
from services.issuer.grants.requests import Order, outcome
from services.issuer.people.identities import Identities
from services.issuer.people.models import Beneficiary
from services.issuer.programmes.assessment import Rule
from services.issuer.programmes.models import AssessmentRule
from shared.database import engine
from shared.problems import Conflict

Key = tuple[UUID, str | None]


@dataclass(frozen=True, slots=True)
class Earlier:
    """A grant made before, the digest of its person while that is known, and the rule of then."""

    grant: Grant
    digest: bytes | None
    rule: Rule | None


def key(order: Order) -> Key:
    """By what an order is known again."""
    return order.prescriber_id, order.reference


def earlier(session: Session, orders: Iterable[Order], identities: Identities) -> Mapping[Key, Earlier]:
    """The grants made before under the references of these orders, of people who were forgotten too."""
    named = {written: key(order) for order in orders if order.reference for written in _written(order, identities)}
    if not named:
        return {}
    # Before versions were kept there was one rule, which is the first.
    then = sa.and_(
        AssessmentRule.programme_id == Grant.programme_id,
        AssessmentRule.version == sa.func.coalesce(Grant.rule_version, 1),
    )
    query = (
        sa.select(Grant, Beneficiary.digest, AssessmentRule.assessment)
        .outerjoin(Beneficiary, Beneficiary.id == Grant.beneficiary_id)
        .outerjoin(AssessmentRule, then)
        .where(sa.tuple_(Grant.prescriber_id, Grant.reference).in_(_pairs(named)))
    )
    found = (Earlier(*row) for row in session.execute(query))
    return {named[known.grant.prescriber_id, known.grant.reference]: known for known in found}


def _written(order: Order, identities: Identities) -> list[Key]:
    """The keys under which the order's grant may be written down."""
    stand_ins = identities.stand_ins(order.prescriber_id, order.reference or "")
    return [key(order), *((order.prescriber_id, stand_in) for stand_in in stand_ins)]


def _pairs(named: Collection[Key]) -> sa.Select[Any]:
    """Keys as two parameters, however many they are: as a list of pairs, ten thousand exceed the parser's depth."""
    prescribers, references = zip(*named, strict=True)
    arrays = sa.cast(list(prescribers), engine.UUIDS), sa.cast(list(references), pg.ARRAY(sa.Text))
    pairs = sa.func.unnest(*arrays).table_valued("prescriber_id", "reference").render_derived()
    return sa.select(pairs.c.prescriber_id, pairs.c.reference)


def same(known: Earlier, order: Order, identities: Identities) -> Grant:
    """The grant made before, if it is the one that is asked for; raises Conflict where it is another."""
    grant = known.grant
    cents = outcome(order, known.rule).amount_cents
    asked = (order.programme, cents, order.target_public, order.granted_on or grant.granted_on)
    alike = asked == (grant.programme_code, grant.amount_cents, grant.target_public, grant.granted_on)
    if not alike or not _same_person(known.digest, order, identities):
        raise Conflict("Another grant was made under this reference.", slug="reference-reused", grant_id=str(grant.id))
    return grant


def _same_person(digest: bytes | None, order: Order, identities: Identities) -> bool:
    """Whether the order is for the person of the grant; of one that nobody knows any more, nothing can be said."""
    return digest is None or (order.beneficiary is not None and digest in identities.digests(order.beneficiary))
