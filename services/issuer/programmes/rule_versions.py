"""The versions of a programme's rule: each is declared once and never changes, and a grant keeps the one of its day."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.programmes import assessment as assessing
from services.issuer.programmes.models import AssessmentRule, Programme
from shared.problems import Conflict, Invalid, NotFound
from shared.values.ids import new_id


def replace(
    session: Session,
    programme: Programme,
    assessment: Mapping[str, Any] | None,
    *,
    reason: str,
    by: str,
    seen: int | None = None,
) -> AssessmentRule:
    """Makes a rule the programme's next version, in force for grants from now on.

    `seen` is the version that it replaces. Raises Conflict where another rule was declared meanwhile, Invalid where the
    rule does not fit the programme.
    """
    # Its key is not touched, so those who are granting need not wait.
    session.refresh(programme, with_for_update={"key_share": True})
    current = programme.assessment_version or 0
    if seen is not None and seen != current:
        raise Conflict(f"The rule in force is version {current}.", slug="rule-replaced", version=current)
    faults = assessing.rule_faults(programme, assessment) if assessment else []
    if faults:
        raise Invalid("The rule does not go with the programme: see `errors`.", errors={"assessment": faults})
    programme.assessment, programme.assessment_version = dict(assessment) if assessment else None, current + 1
    return declare(session, programme, reason=reason, by=by)


def declare(session: Session, programme: Programme, *, reason: str | None, by: str) -> AssessmentRule:
    """The programme's current rule, stored under its version."""
    rule = AssessmentRule(
        id=new_id(),
        programme_id=programme.id,
        version=programme.assessment_version,
        assessment=programme.assessment,
        reason=reason,
        declared_by=by,
    )
    session.add(rule)
    session.flush()
    return rule


def every(programme: Programme) -> sa.Select[Any]:
    """The query of a programme's rules."""
    return sa.select(AssessmentRule).where(AssessmentRule.programme_id == programme.id)


def find(session: Session, programme: Programme, version: int) -> AssessmentRule:
    """One version of a programme's rule; raises NotFound."""
    known = version <= (programme.assessment_version or 0)
    query = every(programme).where(AssessmentRule.version == version)
    found: AssessmentRule | None = session.scalar(query) if known else None
    if found is None:
        raise NotFound("The programme's rule has no such version.")
    return found
