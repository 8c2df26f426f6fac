"""What the cheques issued add up to, per envelope and per programme, by what became of them as far as is known here."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import STATES, Cheque
from services.issuer.funding.models import Envelope
from services.issuer.programmes.models import Programme


def balances(session: Session) -> dict[str, Any]:
    """Number and cents of the cheques in each state, from one look at all of them."""
    sums = (
        sa.select(
            Cheque.envelope_id,
            Cheque.state,
            sa.func.count().label("number"),
            sa.func.sum(Cheque.value_cents).label("cents"),
        )
        .group_by(Cheque.envelope_id, Cheque.state)
        .subquery()
    )
    query = (
        sa.select(Envelope, Programme.code, sums.c.state, sums.c.number, sums.c.cents)
        .join(Programme, Programme.id == Envelope.programme_id)
        .outerjoin(sums, sums.c.envelope_id == Envelope.id)
        .order_by(Programme.code, Envelope.priority, Envelope.id)
    )
    envelopes: dict[Any, dict[str, Any]] = {}
    for row in session.execute(query.execution_options(populate_existing=True)):
        line = envelopes.setdefault(row.Envelope.id, _line(row.Envelope, row.code))
        if row.state:
            _add(line["states"], row.state, row.number, int(row.cents))
    return {"programmes": _by_programme(envelopes.values()), "envelopes": list(envelopes.values())}


def _line(envelope: Envelope, programme: str) -> dict[str, Any]:
    return {
        "envelope_id": envelope.id,
        "programme": programme,
        "funder": envelope.funder,
        "convention_reference": envelope.convention_reference,
        "amount_cents": envelope.amount_cents,
        "engaged_cents": envelope.engaged_cents,
        "available_cents": envelope.available_cents,
        "states": _nothing(),
    }


def _nothing() -> dict[str, dict[str, int]]:
    return {state: {"number": 0, "cents": 0} for state in STATES}


def _add(states: Mapping[str, dict[str, int]], state: str, number: int, cents: int) -> None:
    states[state]["number"] += number
    states[state]["cents"] += cents


def _by_programme(envelopes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    programmes: dict[str, dict[str, Any]] = {}
    for line in envelopes:
        sums = programmes.setdefault(line["programme"], {"programme": line["programme"], "states": _nothing()})
        for state, sum_ in line["states"].items():
            _add(sums["states"], state, **sum_)
    return list(programmes.values())
