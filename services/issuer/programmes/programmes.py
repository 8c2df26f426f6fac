"""Programmes: what cheques are for, what they are worth and how long they may be spent; and their rules.

A version of a rule is declared once and never changes, and a grant keeps the version of its day.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.fields import CODE
from services.issuer.programmes import assessment
from services.issuer.programmes.models import AssessmentRule, Programme
from shared.database import paging
from shared.problems import Conflict, Invalid, NotFound
from shared.values import clock


def create(session: Session, terms: Mapping[str, Any], by: str) -> Programme:
    """Adds a programme, its rule as version 1; `terms` are its columns by name.

    Raises Invalid where its amounts do not go together, Conflict where its code is taken.
    """
    errors = _faults(Programme(**terms))
    if errors:
        raise Invalid("The programme's terms do not go together: see `errors`.", errors=errors)
    version = 1 if terms["assessment"] else None
    insert = pg.insert(Programme).values(**terms, assessment_version=version)
    added = insert.on_conflict_do_nothing().returning(Programme)
    programme = session.scalars(added).one_or_none()
    if programme is None:
        raise Conflict(f"There is a programme {terms['code']} already.", slug="programme-exists")
    if version:
        _declare(session, programme, None, by)
    return programme


def find(session: Session, code: str) -> Programme:
    """A programme by its code; raises NotFound."""
    found = session.scalar(sa.select(Programme).where(Programme.code == code)) if CODE.fullmatch(code) else None
    if found is None:
        raise NotFound("There is no programme of this code.")
    return found


def named(session: Session, code: str) -> Programme:
    """The programme that a request names; raises Invalid where there is none."""
    try:
        return find(session, code)
    except NotFound:
        raise unknown() from None


def unknown() -> Invalid:
    """The problem of a request that names a programme that is not there."""
    return Invalid(
        "There is no such programme: see `errors`.", errors={"programme": ["There is no programme of this code."]}
    )


def page(session: Session, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the programmes."""
    return paging.page_by(session, Programme, query)


def validity(programme: Programme, granted_on: date) -> tuple[date, date]:
    """The last day on which a cheque granted that day may be spent, and the last on which it may be presented.

    Raises Invalid where the day lies ahead, or after the programme's end.
    """
    if granted_on > clock.today():
        raise _bad_day("Not a day in the future.")
    if programme.valid_until and granted_on > programme.valid_until:
        raise _bad_day(f"The programme's cheques were valid until {programme.valid_until}.")
    until = programme.valid_until or clock.add_months(granted_on, programme.valid_months or 0)
    return until, until + timedelta(days=programme.grace_days)


def replace_rule(
    session: Session, code: str, rule: Mapping[str, Any] | None, *, reason: str, by: str, seen: int | None = None
) -> AssessmentRule:
    """Makes a rule the programme's next version, in force for grants from now on.

    `seen` is the version that it replaces. Raises NotFound, Conflict where another rule was declared meanwhile, Invalid
    where the rule does not fit the programme.
    """
    programme = find(session, code)
    # Its key is not touched, so those who are granting need not wait.
    session.refresh(programme, with_for_update={"key_share": True})
    current = programme.assessment_version or 0
    if seen is not None and seen != current:
        raise Conflict(f"The rule in force is version {current}.", slug="rule-replaced", version=current)
    faults = assessment.rule_faults(programme, rule) if rule else []
    if faults:
        raise Invalid("The rule does not go with the programme: see `errors`.", errors={"assessment": faults})
    programme.assessment, programme.assessment_version = dict(rule) if rule else None, current + 1
    return _declare(session, programme, reason, by)


def rules(session: Session, code: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the versions of a programme's rule; raises NotFound."""
    return paging.page_by(session, AssessmentRule, {**query, "programme_id": find(session, code).id})


def find_rule(session: Session, code: str, version: int) -> AssessmentRule:
    """One version of a programme's rule; raises NotFound."""
    programme = find(session, code)
    if version > (programme.assessment_version or 0):
        raise NotFound("The programme's rule has no such version.")
    query = sa.select(AssessmentRule).filter_by(programme_id=programme.id, version=version)
    return session.scalars(query).one()


def _declare(session: Session, programme: Programme, reason: str | None, by: str) -> AssessmentRule:
    """The programme's current rule, stored under its version."""
    rule = AssessmentRule(
        programme_id=programme.id,
        version=programme.assessment_version,
        assessment=programme.assessment,
        reason=reason,
        declared_by=by,
    )
    session.add(rule)
    session.flush()
    return rule


def _bad_day(reason: str) -> Invalid:
    return Invalid("The day of the grant is not valid: see `errors`.", errors={"granted_on": [reason]})


def _faults(programme: Programme) -> dict[str, list[str]]:
    face, rule = programme.face_value_cents, programme.assessment
    errors = {}
    if programme.minimum_grant_cents % face:
        errors["minimum_grant_cents"] = [f"A multiple of the face value of {face}."]
    elif rule and (faults := assessment.rule_faults(programme, rule)):
        errors["assessment"] = faults
    return errors
