"""Cheques as the issuer and the operators publish them: issued, blocked and unblocked, registered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.cheques import ending, expiring
from services.redeemer.cheques.models import Programme, SpendingRules
from shared.eventlog import event_kinds
from shared.eventlog.event_kinds import ChequesIssued, ChequesRedigested

# The columns of a grant are sent once, and its cheques find them by its place among the grants.
_ISSUE = sa.text("""
    INSERT INTO cheque (id, digest, rules_id, grant_id, value_cents, granted_on, valid_until, presentable_until, active)
    SELECT issued.id, issued.digest, spending_rules.id, grant_id, value_cents, granted_on, valid_until,
           presentable_until, active
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:digests AS bytea[]), CAST(:values AS int[]), CAST(:places AS bigint[])
    ) AS issued (id, digest, value_cents, place)
    JOIN unnest(
        CAST(:grants AS uuid[]), CAST(:rules AS bytea[]), CAST(:granted AS date[]), CAST(:valid AS date[]),
        CAST(:presentable AS date[]), CAST(:active AS boolean[])
    ) WITH ORDINALITY AS cheque_grant (grant_id, rules, granted_on, valid_until, presentable_until, active, place)
        USING (place)
    JOIN spending_rules ON spending_rules.digest = cheque_grant.rules
    ON CONFLICT (id) DO NOTHING
""")
_REGISTER = sa.text("UPDATE cheque SET active = true WHERE id = ANY(:ids) AND NOT active")
_BLOCK = sa.text("UPDATE cheque SET blocked = :blocked WHERE id = ANY(:ids) AND blocked <> :blocked")
_REDIGEST = sa.text("""
    UPDATE cheque SET digest = input.digest
    FROM unnest(CAST(:ids AS uuid[]), CAST(:digests AS bytea[])) AS input (id, digest)
    WHERE cheque.id = input.id AND cheque.digest <> input.digest
""")


def issue(session: Session, grants: Sequence[ChequesIssued]) -> list[UUID]:
    """Inserts the cheques of grants, and returns their ids."""
    programmes = [grant.programme for grant in grants]
    rules = [_rules_digest(programme) for programme in programmes]
    _keep_rules(session, dict(zip(rules, programmes, strict=True)))
    _keep_names(session, {programme.code: programme.name for programme in programmes if programme.name})
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
        "active": [programme.spendable == "on_issue" for programme in programmes],
    }
    session.execute(_ISSUE, columns)
    expiring.read_from(session, min(grant.presentable_until for grant in grants))
    return ids


def register(session: Session, cheque_ids: Sequence[UUID]) -> None:
    """Makes cheques spendable that an operator has registered."""
    ending.lock(session, cheque_ids)
    session.execute(_REGISTER, {"ids": list(cheque_ids)})


def block(session: Session, cheque_ids: Sequence[UUID], blocked: bool) -> None:
    """Blocks cheques, or unblocks them; one that has ended stays so."""
    ending.lock(session, cheque_ids)
    session.execute(_BLOCK, {"ids": list(cheque_ids), "blocked": blocked})
    expiring.read_again(session, cheque_ids)


def redigest(session: Session, batches: Sequence[ChequesRedigested]) -> None:
    """Replaces digests by those of a new key, the last one of a cheque; tills look for both while keys are rotated."""
    digests = {cheque.cheque_id: bytes.fromhex(cheque.digest) for batch in batches for cheque in batch.cheques}
    ending.lock(session, digests.keys())
    session.execute(_REDIGEST, {"ids": list(digests), "digests": list(digests.values())})


def _keep_rules(session: Session, rules: Mapping[bytes, event_kinds.Programme]) -> None:
    rows = [
        {"digest": digest, "programme": rule.code, "services": rule.services, "territory": rule.territory}
        for digest, rule in sorted(rules.items())
    ]
    session.execute(pg.insert(SpendingRules).on_conflict_do_nothing(), rows)


def _keep_names(session: Session, names: Mapping[str, str]) -> None:
    if names:
        rows = [{"code": code, "name": name} for code, name in sorted(names.items())]
        session.execute(pg.insert(Programme).on_conflict_do_nothing(), rows)


def _rules_digest(programme: event_kinds.Programme) -> bytes:
    rules = [programme.code, sorted(programme.services), sorted(programme.territory)]
    return hashlib.sha256(json.dumps(rules).encode()).digest()
