"""Cheques as the issuer and the operators tell of them: issued, blocked and unblocked, registered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer import transitions
from services.redeemer.cheques import expiring
from services.redeemer.cheques.models import Programme, SpendingRules
from shared.eventlog import event_kinds
from shared.eventlog.event_kinds import ChequesIssued, RedigestedCheque

# What is a grant's is given once for it, and found from its cheques by its place among the grants.
_ISSUE = sa.text("""
    INSERT INTO cheque (id, digest, rules_id, grant_id, value_cents, granted_on, valid_until, presentable_until, active)
    SELECT given.id, given.digest, spending_rules.id, grant_id, value_cents, granted_on, valid_until,
           presentable_until, active
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:digests AS bytea[]), CAST(:values AS int[]), CAST(:places AS bigint[])
    ) AS given (id, digest, value_cents, place)
    JOIN unnest(
        CAST(:grants AS uuid[]), CAST(:rules AS bytea[]), CAST(:granted AS date[]), CAST(:valid AS date[]),
        CAST(:presentable AS date[]), CAST(:active AS boolean[])
    ) WITH ORDINALITY AS told (grant_id, rules, granted_on, valid_until, presentable_until, active, place) USING (place)
    JOIN spending_rules ON spending_rules.digest = told.rules
    ON CONFLICT (id) DO NOTHING
""")
_REGISTER = sa.text("UPDATE cheque SET active = true WHERE id = ANY(:ids) AND NOT active")
_BLOCK = sa.text("UPDATE cheque SET blocked = :blocked WHERE id = ANY(:ids) AND blocked <> :blocked")
_REDIGEST = sa.text("""
    UPDATE cheque SET digest = given.digest
    FROM unnest(CAST(:ids AS uuid[]), CAST(:digests AS bytea[])) AS given (id, digest)
    WHERE cheque.id = given.id AND cheque.digest <> given.digest
""")


def issue(session: Session, grants: Sequence[ChequesIssued]) -> list[UUID]:
    """Takes in the cheques of some grants, by the bodies of their `cheques.issued`, and says which they are."""
    rules = [_rules_digest(grant.programme) for grant in grants]
    programmes = {digest: grant.programme for digest, grant in zip(rules, grants, strict=True)}
    _keep_rules(session, programmes)
    _keep_names(session, {given.code: given.name for given in programmes.values() if given.name})
    lines = [(place, cheque) for place, grant in enumerate(grants, start=1) for cheque in grant.cheques]
    ids = [cheque.cheque_id for _, cheque in lines]
    columns = {
        "ids": ids,
        "digests": [bytes.fromhex(cheque.digest) for _, cheque in lines],
        "values": [cheque.value_cents for _, cheque in lines],
        "places": [place for place, _ in lines],
        "grants": [grant.grant_id for grant in grants],
        "rules": rules,
        "granted": [grant.granted_on for grant in grants],
        "valid": [grant.valid_until for grant in grants],
        "presentable": [grant.presentable_until for grant in grants],
        "active": [grant.programme.spendable == "on_issue" for grant in grants],
    }
    session.execute(_ISSUE, columns)
    expiring.read_again(session, ids)
    return ids


def register(session: Session, cheque_ids: Sequence[UUID]) -> None:
    """Cheques that an operator knows may be spent from now on."""
    transitions.lock(session, cheque_ids)
    session.execute(_REGISTER, {"ids": list(cheque_ids)})


def block(session: Session, cheque_ids: Sequence[UUID], blocked: bool) -> None:
    """Cheques that are not to be taken for now, or are again; one that is spent or void already stays so."""
    transitions.lock(session, cheque_ids)
    session.execute(_BLOCK, {"ids": list(cheque_ids), "blocked": blocked})
    expiring.read_again(session, cheque_ids)


def redigest(session: Session, cheques: Sequence[RedigestedCheque]) -> None:
    """Cheques are found by a new key's digests from now on; while keys are rotated, tills look for both."""
    digests = {cheque.cheque_id: bytes.fromhex(cheque.digest) for cheque in cheques}  # the last word counts
    transitions.lock(session, digests.keys())
    session.execute(_REDIGEST, {"ids": list(digests), "digests": list(digests.values())})


def _keep_rules(session: Session, rules: Mapping[bytes, event_kinds.Programme]) -> None:
    rows = [
        {"digest": digest, "programme": given.code, "services": given.services, "territory": given.territory}
        for digest, given in sorted(rules.items())
    ]
    session.execute(pg.insert(SpendingRules).on_conflict_do_nothing(), rows)


def _keep_names(session: Session, names: Mapping[str, str]) -> None:
    if names:
        rows = [{"code": code, "name": name} for code, name in sorted(names.items())]
        session.execute(pg.insert(Programme).on_conflict_do_nothing(), rows)


def _rules_digest(programme: event_kinds.Programme) -> bytes:
    rules = [programme.code, sorted(programme.services), sorted(programme.territory)]
    return hashlib.sha256(json.dumps(rules).encode()).digest()
