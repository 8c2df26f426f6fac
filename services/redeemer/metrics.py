"""The redeemer's gauges: what is spendable, spent and owed."""

from shared.http.metrics import Gauge

GAUGES = (
    Gauge(
        "souche_cheques",
        "Cheques by state, as the judge has them.",
        ("programme", "state"),
        """SELECT programme, state, count(*) FROM cheque JOIN spending_rules ON spending_rules.id = rules_id
           GROUP BY programme, state""",
    ),
    Gauge(
        "souche_redemptions_cents",
        "Cents of redemptions not reversed, by how far they are settled.",
        ("programme", "state"),
        """SELECT programme, state, sum(amount_cents) FROM redemption WHERE reversed_at IS NULL
           GROUP BY programme, state""",
    ),
    Gauge(
        "souche_oldest_due_redemption_seconds",
        "Age of the oldest redemption that no operator has confirmed.",
        ("programme",),
        """SELECT programme, extract(epoch FROM now() - min(redeemed_at)) FROM redemption
           WHERE state = 'due' AND reversed_at IS NULL GROUP BY programme""",
    ),
    Gauge(
        "souche_overdue_cheques",
        "Cheques past their last day that have not expired.",
        (),
        """SELECT count(*) FROM cheque
           WHERE presentable_until < (now() AT TIME ZONE 'Europe/Paris')::date - 1 AND ending IS NULL""",
    ),
    Gauge(
        "souche_guesses",
        "Codes tried in vain since the beginning.",
        (),
        "SELECT guesses FROM guessing WHERE who = 'everybody'",
    ),
    Gauge(
        "souche_lockouts",
        "Lock-outs for trying codes in vain: those of everybody for ever, the others while remembered.",
        ("scope",),
        "SELECT scope, sum(lockouts) FROM guessing GROUP BY scope",
    ),
    Gauge(
        "souche_locked_out",
        "Who is locked out now for trying codes in vain.",
        ("scope",),
        "SELECT scope, count(*) FROM guessing WHERE locked_until > now() GROUP BY scope",
    ),
)
