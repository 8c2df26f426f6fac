"""Issuing: grants that have their money become rows, cheques with codes, and the event that tells of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.codes import Codes, Minted, Revealed
from services.issuer.cheques.models import ISSUED, SPENDABLE
from services.issuer.funding import journal
from services.issuer.funding.allocation import Taken
from services.issuer.grants.beneficiaries import Known
from services.issuer.grants.models import Grant
from services.issuer.grants.requests import Draft
from services.issuer.grants.secrets import Secrets
from services.issuer.programmes.models import ON_ISSUE
from shared.eventlog import log
from shared.observability import logs
from shared.values import clock
from shared.values.ids import new_id

# Collectors of logs cut lines that are longer than 16 kB.
_NAMED_ON_A_LINE = 100
_COLUMNS = ("id", "grant_id", "envelope_id", "value_cents", "sealed_code", "active")
_GRANT_COLUMNS = (
    "id", "prescriber_id", "programme_id", "beneficiary_id", "lot_id", "reference", "target_public", "amount_cents",
    "points", "reason", "rule_version", "exception_reason", "exception_by", "previous_grants", "granted_on",
    "valid_until", "presentable_until", "created_at",
)  # fmt: skip
# Arrays: thousands of rows are one statement of a parameter for each column.
_INSERT_GRANTS = sa.text(f"""
    INSERT INTO cheque_grant ({", ".join(_GRANT_COLUMNS)})
    SELECT * FROM unnest(
        CAST(:id AS uuid[]), CAST(:prescriber_id AS uuid[]), CAST(:programme_id AS uuid[]),
        CAST(:beneficiary_id AS uuid[]), CAST(:lot_id AS uuid[]), CAST(:reference AS text[]),
        CAST(:target_public AS text[]), CAST(:amount_cents AS bigint[]), CAST(:points AS integer[]),
        CAST(:reason AS text[]), CAST(:rule_version AS integer[]), CAST(:exception_reason AS text[]),
        CAST(:exception_by AS text[]), CAST(:previous_grants AS integer[]), CAST(:granted_on AS date[]),
        CAST(:valid_until AS date[]), CAST(:presentable_until AS date[]), CAST(:created_at AS timestamptz[])
    )
""")  # noqa: S608 (constants of this module)
_INSERT_CHEQUES = sa.text("""
    INSERT INTO cheque (id, grant_id, envelope_id, value_cents, sealed_code, active)
    SELECT * FROM unnest(
        CAST(:id AS uuid[]), CAST(:grant_id AS uuid[]), CAST(:envelope_id AS uuid[]), CAST(:value_cents AS bigint[]),
        CAST(:sealed_code AS bytea[]), CAST(:active AS boolean[])
    )
""")


@dataclass(frozen=True, slots=True)
class Charged:
    """A draft, the envelopes it is charged to, who it is for, and why it may go beyond the person's limit."""

    draft: Draft
    taken: Taken
    person: Known | None = None
    exception_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant and its cheques with their codes; `already` where its reference was known."""

    grant: Grant
    cheques: Sequence[Revealed]
    already: bool = False


def issue(session: Session, secrets: Secrets, charged: Sequence[Charged]) -> list[Granted]:
    """Writes grants, their cheques and the events that tell of them, by set."""
    grants = [_grant(each.draft, each.person, each.exception_reason) for each in charged]
    cheques = [list(_mint(secrets.codes, each)) for each in charged]
    issued = list(zip(grants, cheques, strict=True))
    _insert(session, issued)
    journal.engage(session, [(grant.id, each.taken) for grant, each in zip(grants, charged, strict=True)])
    log.append_many(session, "cheques.issued", [(grant.id, told(grant, minted)) for grant, minted in issued])
    return [Granted(grant, minted) for grant, minted in issued]


def say(granted: Sequence[Granted]) -> None:
    """Names new grants, and the cheques where they are few: by those ids they are found in the other services' logs."""
    for start in range(0, len(granted), _NAMED_ON_A_LINE):
        some = granted[start : start + _NAMED_ON_A_LINE]
        cheques = [cheque.cheque_id for each in some for cheque in each.cheques]
        few = logs.ids(cheques) if len(cheques) <= _NAMED_ON_A_LINE else None
        grants = logs.ids(each.grant.id for each in some)
        logs.logger().info("grants_made", grant_ids=grants, cheques=len(cheques), cheque_ids=few)


def _insert(session: Session, issued: Sequence[tuple[Grant, Sequence[Minted]]]) -> None:
    # In one order, so that two files with the same references do not wait for each other crosswise.
    grants = [grant for grant, _ in issued]
    grants.sort(key=lambda grant: (grant.reference or "", grant.prescriber_id))
    session.flush()
    if grants:
        session.execute(_INSERT_GRANTS, {name: [getattr(grant, name) for grant in grants] for name in _GRANT_COLUMNS})
    rows = [_row(grant, cheque) for grant, minted in issued for cheque in minted]
    if rows:
        session.execute(_INSERT_CHEQUES, dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)))


def _grant(draft: Draft, person: Known | None, exception_reason: str | None) -> Grant:
    return Grant(
        id=new_id(),
        prescriber_id=draft.order.prescriber_id,
        programme_id=draft.programme.id,
        programme=draft.programme,
        beneficiary_id=person.id if person else None,
        lot_id=draft.lot_id,
        reference=draft.order.reference,
        target_public=draft.order.target_public,
        amount_cents=draft.outcome.amount_cents,
        points=draft.outcome.points,
        reason=draft.outcome.reason,
        rule_version=draft.programme.assessment_version,
        exception_reason=exception_reason,
        exception_by=draft.order.asked_by if exception_reason else None,
        previous_grants=person.count() if person else 0,
        granted_on=draft.granted_on,
        valid_until=draft.valid_until,
        presentable_until=draft.presentable_until,
        created_at=clock.now(),
    )


def _mint(codes: Codes, charged: Charged) -> Iterator[Minted]:
    programme = charged.draft.programme
    state = SPENDABLE if programme.spendable == ON_ISSUE else ISSUED
    for cents, envelope_id in zip(charged.draft.values, charged.taken.envelope_ids, strict=True):
        yield codes.mint(cents, envelope_id, state)


def _row(grant: Grant, cheque: Minted) -> tuple[Any, ...]:
    """A cheque's values, in the order of `_COLUMNS`."""
    active = cheque.state == SPENDABLE
    return cheque.cheque_id, grant.id, cheque.envelope_id, cheque.value_cents, cheque.sealed_code, active


def told(grant: Grant, cheques: Sequence[Any]) -> dict[str, Any]:
    """The body of the event: what spending needs to know, so neither codes nor who it is for."""
    return {
        "grant_id": grant.id,
        "programme": grant.programme,
        "granted_on": grant.granted_on,
        "valid_until": grant.valid_until,
        "presentable_until": grant.presentable_until,
        "cheques": cheques,
    }
