"""Booklets on paper, one grant's or those of thousands of grants in one file, and as a page for a telephone.

The file for a printer is made while it is sent, a few booklets at a time: neither memory nor disk ever holds them all,
and no file with codes stays behind.

The page stands by itself, requests nothing and runs nothing. A beneficiary has no account, and an address that opens it
would be a secret in an address, which logs, histories and previews keep. So the prescriber saves it and hands it over.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from sqlalchemy.orm import Session

from services.issuer.booklets import booklet
from services.issuer.booklets.booklet import USABLE, Booklet
from services.issuer.booklets.pdf_joining import joined
from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import Cheque
from services.issuer.grants import queries
from services.issuer.grants.models import Grant
from shared.database import engine
from shared.files import pdf_documents
from shared.problems import Conflict, Invalid, NotFound
from shared.values import clock

MAX_PER_PAGE = 10
MAX_GRANTS = 3000
# The typesetter keeps what it made of the last ten batches: small ones keep that small, at the price of their fonts.
BATCH_SIZE = 8

_HERE = Path(__file__).parent
_STYLE = _HERE.joinpath("booklet.css").read_text(encoding="utf-8")
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
)

POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none'"
"""What a browser lets the page do: be styled by its own sheet, and nothing else. It is in the page too, once saved."""


def html(made: Booklet) -> str:
    """A booklet as a page, in French."""
    return _TEMPLATES.get_template("booklet.html").render(booklet=made, style=_STYLE, policy=POLICY)


def pdf(made: Sequence[Booklet], per_page: int, made_at: datetime) -> bytes:
    """Booklets as one PDF/UA-1 of A4 pages with so many cheques on a page."""
    programmes = sorted({item.programme for item in made})
    data = {
        "title": f"Carnet{'s' if len(made) > 1 else ''} de chèques {', '.join(programmes)}",
        "per_page": per_page,
        "booklets": [asdict(item) for item in made],
    }
    return pdf_documents.pdf(_HERE / "booklet.typ", data, made_at)


def chosen(session: Session, owner: UUID | None, selection: Mapping[str, Any]) -> list[UUID]:
    """The grants to print that have a cheque left to use: the selection's `grant_ids`, or all that its filters leave.

    `owner` is the prescriber who asks, None for who may see all. Raises NotFound where a grant that is named is not the
    owner's, Invalid where they are too many, Conflict where nothing is left to print.
    """
    grants = queries.select(owner, selection)
    usable = sa.exists().where(Cheque.grant_id == Grant.id, Cheque.state.in_(USABLE))
    if selection["grant_ids"] is not None:
        named = list(dict.fromkeys(selection["grant_ids"]))
        rows = session.execute(grants.with_only_columns(Grant.id, usable).where(engine.among(Grant.id, named))).all()
        if len(rows) < len(named):
            raise NotFound("Not all of these grants are within your scope.")
        left = {grant_id for grant_id, is_usable in rows if is_usable}
        found = [grant_id for grant_id in named if grant_id in left]
    else:
        query = grants.with_only_columns(Grant.id).where(usable)
        if selection["granted_from"]:
            query = query.where(Grant.granted_on >= selection["granted_from"])
        if selection["granted_until"]:
            query = query.where(Grant.granted_on <= selection["granted_until"])
        found = list(session.scalars(query.order_by(Grant.prescriber_id, Grant.id).limit(MAX_GRANTS + 1)))
    if len(found) > MAX_GRANTS:
        raise Invalid(f"More than {MAX_GRANTS} grants: print them in several files.", slug="too-many-grants")
    if not found:
        raise Conflict("No grant that was asked for has a cheque left to use.", slug="nothing-to-print")
    return found


def stream(
    transaction: Callable[[], AbstractContextManager[Session]], codes: Codes, grant_ids: Sequence[UUID], per_page: int
) -> Iterator[bytes]:
    """The booklets of these grants as the pieces of one PDF. Each batch is read in a transaction of its own."""
    made_at, today = clock.now(), clock.today()

    def parts() -> Iterator[bytes]:
        for at in range(0, len(grant_ids), BATCH_SIZE):
            with transaction() as session:
                made = booklet.booklets(session, codes, grant_ids[at : at + BATCH_SIZE], today)
            if made:
                yield pdf(made, per_page, made_at)

    return joined(parts())
