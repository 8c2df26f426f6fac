"""Within how many days the statements of a programme are to be paid."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.statements.models import PaymentTerm
from shared.values import clock

USUAL_TERM_DAYS = 30
"""Code de la commande publique, article R. 2192-10: what a local authority has, from the request for payment on."""


def terms(session: Session) -> Sequence[PaymentTerm]:
    """The terms of the programmes whose term is not the usual one."""
    return session.scalars(sa.select(PaymentTerm).order_by(PaymentTerm.programme)).all()


def set_term(session: Session, programme: str, days: int, by: str) -> PaymentTerm:
    """The term of a programme: days from issue within which its statements are to be paid, from the next ones on."""
    row = pg.insert(PaymentTerm).values(programme=programme, days=days, changed_by=by, changed_at=clock.now())
    changes = {name: row.excluded[name] for name in ("days", "changed_by", "changed_at")}
    session.execute(row.on_conflict_do_update(index_elements=["programme"], set_=changes))
    return session.get_one(PaymentTerm, programme, populate_existing=True)
