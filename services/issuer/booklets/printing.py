"""Booklets on paper: one grant's, or those of hundreds of grants in one file for a printer.

The file for a printer is told while it is made: a few booklets are read, set and sent, then the next. Neither memory
nor disk ever holds them all, and no file with codes stays behind.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.booklets import booklet
from services.issuer.booklets.booklet import USABLE, Booklet
from services.issuer.booklets.pdf_joining import joined
from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import Cheque
from services.issuer.grants.models import Grant, Lot
from services.issuer.programmes.models import Programme
from shared.database import engine
from shared.files import pdf_documents
from shared.problems import Conflict, Invalid, NotFound
from shared.values import clock

MOST_PER_PAGE = 10
MOST_GRANTS = 3000
# The typesetter keeps what it made of the last ten portions: small ones keep that small, at the price of their fonts.
AT_ONCE = 8

_TEMPLATE = Path(__file__).with_name("booklet.typ")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which grants to print: these, in their order, or all that answer to what is said, by prescriber."""

    grant_ids: Sequence[UUID] | None = None
    programme: str | None = None
    lot: str | None = None
    granted_from: date | None = None
    granted_until: date | None = None


def pdf(made: Sequence[Booklet], per_page: int, made_at: datetime) -> bytes:
    """Booklets as one PDF/UA-1 of A4 pages with so many cheques on a page."""
    programmes = sorted({each.programme for each in made})
    data = {
        "title": f"Carnet{'s' if len(made) > 1 else ''} de chèques {', '.join(programmes)}",
        "per_page": per_page,
        "booklets": [asdict(each) for each in made],
    }
    return pdf_documents.pdf(_TEMPLATE, data, made_at)


def chosen(session: Session, owner: UUID | None, selection: Selection) -> list[UUID]:
    """The grants to print that have a cheque left to use; `owner` is the prescriber who asks, None for who may see all.

    Raises NotFound where a grant that is named is not the owner's, Invalid where they are too many, Conflict where
    nothing is left to print.
    """
    scope = sa.true() if owner is None else Grant.prescriber_id == owner
    if selection.grant_ids is not None:
        found = _named(session, scope, selection.grant_ids)
    else:
        found = list(session.scalars(_query(selection).where(scope)))
    if len(found) > MOST_GRANTS:
        raise Invalid(f"More than {MOST_GRANTS} grants: print them in several files.", slug="too-many-grants")
    if not found:
        raise Conflict("No grant that was asked for has a cheque left to use.", slug="nothing-to-print")
    return found


def stream(
    transaction: Callable[[], AbstractContextManager[Session]], codes: Codes, grant_ids: Sequence[UUID], per_page: int
) -> Iterator[bytes]:
    """The booklets of these grants as the pieces of one PDF. Each portion is read in a transaction of its own."""
    made_at, today = clock.now(), clock.today()

    def parts() -> Iterator[bytes]:
        for at in range(0, len(grant_ids), AT_ONCE):
            with transaction() as session:
                made = booklet.booklets(session, codes, grant_ids[at : at + AT_ONCE], today)
            if made:
                yield pdf(made, per_page, made_at)

    return joined(parts())


def _named(session: Session, scope: sa.ColumnElement[bool], grant_ids: Sequence[UUID]) -> list[UUID]:
    asked = list(dict.fromkeys(grant_ids))
    query = sa.select(Grant.id, _has_usable()).where(engine.among(Grant.id, asked), scope)
    known = {row[0]: row[1] for row in session.execute(query)}
    if len(known) < len(asked):
        raise NotFound("Not all of these grants are within your scope.")
    return [grant_id for grant_id in asked if known[grant_id]]


def _query(selection: Selection) -> sa.Select[Any]:
    query = sa.select(Grant.id).join(Programme, Programme.id == Grant.programme_id).where(_has_usable())
    if selection.programme:
        query = query.where(Programme.code == selection.programme)
    if selection.lot:
        query = query.join(Lot, Lot.id == Grant.lot_id).where(Lot.code == selection.lot)
    if selection.granted_from:
        query = query.where(Grant.granted_on >= selection.granted_from)
    if selection.granted_until:
        query = query.where(Grant.granted_on <= selection.granted_until)
    return query.order_by(Grant.prescriber_id, Grant.id).limit(MOST_GRANTS + 1)


def _has_usable() -> sa.ColumnElement[bool]:
    return sa.exists().where(Cheque.grant_id == Grant.id, Cheque.state.in_(USABLE))
