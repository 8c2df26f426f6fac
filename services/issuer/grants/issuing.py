"""Issuing: allocated grants become rows, cheques with codes, and the event `cheques.issued`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from services.issuer.cheques.codes import Codes, Minted, Revealed
from services.issuer.cheques.models import ISSUED, SPENDABLE, Cheque
from services.issuer.funding import journal
from services.issuer.funding.allocation import Allocation
from services.issuer.grants.beneficiaries import BeneficiaryRecord
from services.issuer.grants.models import Grant
from services.issuer.grants.requests import EligibleGrant
from services.issuer.people.identities import Identities
from services.issuer.programmes.models import ON_ISSUE
from shared.database import engine
from shared.eventlog import log
from shared.observability import logs
from shared.values import clock
from shared.values.ids import new_id

# Log collectors cut lines that are longer than 16 kB.
_MAX_IDS_PER_LINE = 100
_CHEQUE_COLUMNS = ("id", "grant_id", "envelope_id", "value_cents", "sealed_code", "active")
_GRANT_COLUMNS = Grant.__table__.columns.keys()


@dataclass(frozen=True, slots=True)
class Secrets:
    """What encrypts codes and identities."""

    codes: Codes
    identities: Identities

    @classmethod
    def of(cls, keys: Mapping[str, Mapping[str, bytes]]) -> "Secrets":
        """From the service's secret keys."""
        return cls(Codes(keys), Identities(keys))


@dataclass(frozen=True, slots=True)
class AllocatedGrant:
    """An eligible grant, the envelopes that pay for it, its beneficiary, and why it may exceed the person's limit."""

    eligible: EligibleGrant
    allocation: Allocation
    person: BeneficiaryRecord | None = None
    exception_reason: str | None = None


@dataclass(frozen=True, slots=True)
class IssuedGrant:
    """A grant and its cheques with their codes; `already` where it was made by an earlier request."""

    grant: Grant
    cheques: Sequence[Revealed]
    already: bool = False


def issue(session: Session, secrets: Secrets, allocated: Sequence[AllocatedGrant]) -> list[IssuedGrant]:
    """The grants, written with their cheques, their charges and their events, by set."""
    issued = [(_grant(grant), list(_mint(secrets.codes, grant))) for grant in allocated]
    _insert(session, issued)
    charged = [(grant.id, done.allocation) for (grant, _), done in zip(issued, allocated, strict=True)]
    journal.engage(session, charged)
    log.append_many(session, "cheques.issued", [(grant.id, event_body(grant, minted)) for grant, minted in issued])
    return [IssuedGrant(grant, minted) for grant, minted in issued]


def log_grants(issued: Sequence[IssuedGrant]) -> None:
    """Logs the ids of new grants, and of their cheques where they are few: the other services' logs name those too."""
    for start in range(0, len(issued), _MAX_IDS_PER_LINE):
        batch = issued[start : start + _MAX_IDS_PER_LINE]
        cheques = [cheque.cheque_id for grant in batch for cheque in grant.cheques]
        few = logs.ids(cheques) if len(cheques) <= _MAX_IDS_PER_LINE else None
        grants = logs.ids(issued_grant.grant.id for issued_grant in batch)
        logs.logger().info("grants_made", grant_ids=grants, cheques=len(cheques), cheque_ids=few)


def _insert(session: Session, issued: Sequence[tuple[Grant, Sequence[Minted]]]) -> None:
    # In one order, so that two files with the same references do not wait for each other crosswise.
    grants = sorted((grant for grant, _ in issued), key=lambda grant: (grant.reference or "", grant.prescriber_id))
    session.flush()
    rows = [[getattr(grant, name) for name in _GRANT_COLUMNS] for grant in grants]
    engine.insert_rows(session, Grant, _GRANT_COLUMNS, rows)
    cheques = [
        (new.cheque_id, grant.id, new.envelope_id, new.value_cents, new.sealed_code, new.state == SPENDABLE)
        for grant, minted in issued
        for new in minted
    ]
    engine.insert_rows(session, Cheque, _CHEQUE_COLUMNS, cheques)


def _grant(allocated: AllocatedGrant) -> Grant:
    eligible, person = allocated.eligible, allocated.person
    request, outcome = eligible.request, eligible.outcome
    return Grant(
        id=new_id(),
        prescriber_id=request.prescriber_id,
        programme_id=eligible.programme.id,
        programme=eligible.programme,
        beneficiary_id=person.id if person else None,
        lot_id=eligible.lot_id,
        reference=request.reference,
        target_public=request.target_public,
        amount_cents=outcome.amount_cents,
        points=outcome.points,
        reason=outcome.reason,
        rule_version=eligible.programme.assessment_version,
        exception_reason=allocated.exception_reason,
        exception_by=request.requested_by if allocated.exception_reason else None,
        previous_grants=person.count() if person else 0,
        granted_on=eligible.need.day,
        valid_until=eligible.valid_until,
        presentable_until=eligible.presentable_until,
        created_at=clock.now(),
    )


def _mint(codes: Codes, allocated: AllocatedGrant) -> Iterator[Minted]:
    eligible = allocated.eligible
    state = SPENDABLE if eligible.programme.spendable == ON_ISSUE else ISSUED
    for cents, envelope_id in zip(eligible.need.values, allocated.allocation.envelope_ids, strict=True):
        yield codes.mint(cents, envelope_id, state)


def event_body(grant: Grant, cheques: Sequence[Any]) -> dict[str, Any]:
    """The body of the event: without codes, and without the beneficiary."""
    return {
        "grant_id": grant.id,
        "programme": grant.programme,
        "granted_on": grant.granted_on,
        "valid_until": grant.valid_until,
        "presentable_until": grant.presentable_until,
        "cheques": cheques,
    }
