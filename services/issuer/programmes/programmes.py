"""Programmes: what cheques are for, what they are worth and how long they may be spent."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.fields import CODE
from services.issuer.programmes import assessment, rule_versions
from services.issuer.programmes.models import Programme
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
        rule_versions.declare(session, programme, reason=None, by=by)
    return programme


def find(session: Session, code: str) -> Programme:
    """A programme by its code; raises NotFound."""
    found = session.scalar(sa.select(Programme).where(Programme.code == code)) if CODE.fullmatch(code) else None
    if found is None:
        raise NotFound("There is no programme of this code.")
    return found


def codes(session: Session) -> Mapping[UUID, str]:
    """The code of each programme, by its id."""
    return {row.id: row.code for row in session.execute(sa.select(Programme.id, Programme.code))}


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


def every() -> sa.Select[Any]:
    """The query of all programmes."""
    return sa.select(Programme)


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
