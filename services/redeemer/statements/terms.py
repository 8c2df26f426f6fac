"""TODO."""

from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.statements.models import PaymentTerm
from shared.values import clock

USUAL_TERM_DAYS = 30
"""Code de la commande publique, article R. 2192-10: what a local authority has, from the request for payment on."""


def set_term(session: Session, programme: str, days: int, by: str) -> PaymentTerm:
    """Says within how many days of issue the statements of a programme are to be paid, from the next ones on."""
    given = pg.insert(PaymentTerm).values(programme=programme, days=days, changed_by=by, changed_at=clock.now())
    changes = {name: given.excluded[name] for name in ("days", "changed_by", "changed_at")}
    session.execute(given.on_conflict_do_update(index_elements=["programme"], set_=changes))
    return session.get_one(PaymentTerm, programme, populate_existing=True)
