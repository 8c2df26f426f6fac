"""The outbox of notices: what somebody should know, once. Sending is another system's work.

A notice is a row, for those who ask, and an event, for those who listen. Its key makes it the same notice: whoever
posts it again, at the same moment or years later, posts nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.notices.models import Notice
from shared.database.paging import page_by
from shared.eventlog import log
from shared.values.ids import new_id


@dataclass(frozen=True, slots=True)
class Draft:
    """A notice to post. Its body is JSON and names no person: all services may read it."""

    key: str
    body: Mapping[str, Any]
    subject_id: UUID | None = None
    prescriber_id: UUID | None = None
    id: UUID = field(default_factory=new_id)


def post(
    session: Session,
    kind: str,
    key: str,
    body: Mapping[str, Any],
    *,
    subject_id: UUID | None = None,
    prescriber_id: UUID | None = None,
) -> bool:
    """Posts a notice; False where one of this kind and key was posted before."""
    return post_all(session, kind, [Draft(key, body, subject_id, prescriber_id)]) == 1


def post_all(session: Session, kind: str, drafts: Sequence[Draft]) -> int:
    """Posts notices of one kind by one statement, and returns how many were not posted before."""
    if not drafts:
        return 0
    # In one order: two who post wait, never in a circle.
    rows = [{**asdict(draft), "kind": kind} for draft in sorted(drafts, key=lambda draft: draft.key)]
    session.flush()
    statement = pg.insert(Notice).on_conflict_do_nothing(index_elements=["kind", "key"]).returning(Notice.id)
    fresh = set(session.scalars(statement, rows))
    posted = [(row["id"], {**row, "notice_id": row["id"]}) for row in rows if row["id"] in fresh]
    log.append_many(session, "notice.posted", posted)
    return len(posted)


def find_page(session: Session, query: Mapping[str, Any], owner: UUID | None) -> dict[str, Any]:
    """A page of the notices, or of those that concern one prescriber."""
    return page_by(session, Notice, {**query, "prescriber_id": owner})
