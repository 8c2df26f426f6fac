"""Gauges of envelopes, mirrored cheques and open cancellations, and a counter of codes sent to the bridge."""

from prometheus_client import Counter

from shared.http.metrics import Gauge

REVEALED = Counter("souche_codes_revealed", "Codes given to the operator bridge to register with an operator.")

GAUGES = (
    Gauge(
        "souche_envelope_cents",
        "Money of the envelopes, by funder: their amount, and what of it is engaged.",
        ("programme", "funder", "part"),
        """SELECT code, funder, part, sum(cents)
           FROM (SELECT programme_id, funder, 'amount' AS part, amount_cents AS cents FROM envelope
                 UNION ALL SELECT programme_id, funder, 'engaged', engaged_cents FROM envelope) money
           JOIN programme ON programme.id = programme_id GROUP BY code, funder, part""",
    ),
    Gauge(
        "souche_mirrored_cheques",
        "Cheques by state, as the issuer mirrors them.",
        ("programme", "state"),
        """SELECT programme.code, state, count(*) FROM cheque JOIN cheque_grant ON cheque_grant.id = grant_id
           JOIN programme ON programme.id = programme_id GROUP BY programme.code, state""",
    ),
    Gauge(
        "souche_open_cancellations",
        "Cheques whose cancellation the redeemer has not answered yet.",
        (),
        "SELECT count(*) FROM cancellation_cheque WHERE outcome = 'requested'",
    ),
)
