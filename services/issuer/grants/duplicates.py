"""Repeated requests: under one reference of a prescriber there is one grant, and a repeated request is answered by it.

A repeat is checked by the rule that was in force when the grant was made, not by today's.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.grants.issuing import IssuedGrant
from services.issuer.grants.models import Grant
from services.issuer.grants.requests import GrantRequest, outcome
from services.issuer.people.identities import Identities
from services.issuer.people.models import Beneficiary
from services.issuer.programmes.assessment import Rule
from services.issuer.programmes.models import AssessmentRule
from shared.database import engine
from shared.problems import Conflict, Problem

Key = tuple[UUID, str | None]


@dataclass(frozen=True, slots=True)
class EarlierGrant:
    """A grant made before, the digest of its person unless that was erased, and the rule in force then."""

    grant: Grant
    digest: bytes | None
    rule: Rule | None


def key(request: GrantRequest) -> Key:
    """The prescriber and reference by which a repeat of the request is recognised."""
    return request.prescriber_id, request.reference


def find_earlier(
    session: Session, requests: Iterable[GrantRequest], identities: Identities
) -> Mapping[Key, EarlierGrant]:
    """The grants made before under the references of these requests, by key; those of erased people too."""
    with_reference = [request for request in requests if request.reference]
    keys = {stored: key(request) for request in with_reference for stored in _stored_keys(request, identities)}
    if not keys:
        return {}
    # Before versions were kept there was one rule, which is the first.
    rule_of_grant = sa.and_(
        AssessmentRule.programme_id == Grant.programme_id,
        AssessmentRule.version == sa.func.coalesce(Grant.rule_version, 1),
    )
    query = (
        sa.select(Grant, Beneficiary.digest, AssessmentRule.assessment)
        .outerjoin(Beneficiary, Beneficiary.id == Grant.beneficiary_id)
        .outerjoin(AssessmentRule, rule_of_grant)
        .where(sa.tuple_(Grant.prescriber_id, Grant.reference).in_(_pairs(keys)))
    )
    found = (EarlierGrant(*row) for row in session.execute(query))
    return {keys[earlier.grant.prescriber_id, earlier.grant.reference]: earlier for earlier in found}


def answer(earlier: EarlierGrant, request: GrantRequest, identities: Identities) -> IssuedGrant | Problem:
    """The grant made before, if the request is for the same; else the problem that it differs.

    Where the person of the grant was erased, the request is taken to be for them.
    """
    grant, person = earlier.grant, request.beneficiary
    try:
        cents = outcome(request, earlier.rule).amount_cents
    except Problem as problem:
        return problem
    wanted = (request.programme, cents, request.target_public, request.granted_on or grant.granted_on)
    alike = wanted == (grant.programme_code, grant.amount_cents, grant.target_public, grant.granted_on)
    same_person = earlier.digest is None or (person is not None and earlier.digest in identities.digests(person))
    if alike and same_person:
        return IssuedGrant(grant, (), already=True)
    return Conflict("Another grant was made under this reference.", slug="reference-reused", grant_id=str(grant.id))


def _stored_keys(request: GrantRequest, identities: Identities) -> list[Key]:
    """The keys under which the request's grant may be stored: an erased person's has a stand-in as its reference."""
    stand_ins = identities.stand_ins(request.prescriber_id, request.reference or "")
    return [key(request), *((request.prescriber_id, stand_in) for stand_in in stand_ins)]


def _pairs(keys: Collection[Key]) -> sa.Select[Any]:
    """Keys as two parameters, however many they are: as a list of pairs, ten thousand exceed the parser's depth."""
    prescribers, references = zip(*keys, strict=True)
    arrays = sa.cast(list(prescribers), engine.UUIDS), sa.cast(list(references), pg.ARRAY(sa.Text))
    pairs = sa.func.unnest(*arrays).table_valued("prescriber_id", "reference").render_derived()
    return sa.select(pairs.c.prescriber_id, pairs.c.reference)
