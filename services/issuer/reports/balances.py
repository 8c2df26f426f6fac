"""What the issued cheques add up to, per envelope and per programme, by state as far as it is mirrored here."""

from itertools import groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.cheques.models import STATES

# One statement, as what is engaged has to be of the same moment as the cheques.
_ENVELOPES = sa.text("""
    SELECT envelope.id AS envelope_id, programme.code AS programme, envelope.funder, envelope.convention_reference,
           envelope.amount_cents, envelope.engaged_cents,
           envelope.amount_cents - envelope.engaged_cents AS available_cents, states
    FROM envelope
    JOIN programme ON programme.id = envelope.programme_id
    LEFT JOIN (
        SELECT envelope_id, jsonb_object_agg(state, jsonb_build_object('number', number, 'cents', cents)) AS states
        FROM (
            SELECT envelope_id, state, count(*) AS number, sum(value_cents) AS cents
            FROM cheque GROUP BY envelope_id, state
        ) AS sums GROUP BY envelope_id
    ) AS cheques ON cheques.envelope_id = envelope.id
    ORDER BY programme.code, envelope.priority, envelope.id
""")
_NOTHING = {"number": 0, "cents": 0}


def balances(session: Session) -> dict[str, Any]:
    """Number and cents of the cheques in each state."""
    rows = session.execute(_ENVELOPES).mappings()
    envelopes = [{**row, "states": dict.fromkeys(STATES, _NOTHING) | (row["states"] or {})} for row in rows]
    programmes = []
    for code, lines in groupby(envelopes, key=itemgetter("programme")):
        states = [line["states"] for line in lines]
        sums = {state: {unit: sum(of[state][unit] for of in states) for unit in _NOTHING} for state in STATES}
        programmes.append({"programme": code, "states": sums})
    return {"programmes": programmes, "envelopes": envelopes}
