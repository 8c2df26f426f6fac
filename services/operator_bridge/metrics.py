"""The operator bridge's gauges: whether the operators follow, and where they differ from us."""

from shared.http.metrics import Gauge

_OF_CONTRACT = ("contract", "operator")

GAUGES = (
    Gauge(
        "souche_orders",
        "Orders to operators that are not settled, by state.",
        (*_OF_CONTRACT, "kind", "state"),
        """SELECT code, operator, kind, operator_order.state, count(*)
           FROM operator_order
           JOIN contract USING (contract_id)
           WHERE operator_order.state IN ('pending', 'sent', 'unknown', 'held') GROUP BY 1, 2, 3, 4""",
    ),
    Gauge(
        "souche_oldest_order_seconds",
        "Age of the oldest order that is not settled.",
        (*_OF_CONTRACT, "state"),
        """SELECT code, operator, operator_order.state, extract(epoch FROM now() - min(operator_order.created_at))
           FROM operator_order
           JOIN contract USING (contract_id)
           WHERE operator_order.state IN ('pending', 'sent', 'unknown', 'held') GROUP BY 1, 2, 3""",
    ),
    Gauge(
        "souche_links",
        "Cheques by what the operator knows of them.",
        (*_OF_CONTRACT, "state"),
        """SELECT code, operator, link.state, count(*) FROM link JOIN contract USING (contract_id) GROUP BY 1, 2, 3""",
    ),
    Gauge(
        "souche_circuit_open",
        "1 where the operator fails so often that only probes are sent.",
        _OF_CONTRACT,
        "SELECT code, operator, (circuit_opened_at IS NOT NULL)::int FROM contract WHERE state IN ('live', 'draining')",
    ),
    Gauge(
        "souche_contract_held",
        "1 where somebody stopped sending.",
        _OF_CONTRACT,
        "SELECT code, operator, (held_at IS NOT NULL)::int FROM contract WHERE state IN ('live', 'draining')",
    ),
    Gauge(
        "souche_discrepancies",
        "Differences with operators that wait for a person.",
        ("operator", "kind"),
        "SELECT operator, kind, count(*) FROM discrepancy WHERE state <> 'resolved' GROUP BY operator, kind",
    ),
    Gauge(
        "souche_reconciliation_age_seconds",
        "Time since a statement was last compared whole.",
        _OF_CONTRACT,
        """SELECT code, operator, extract(epoch FROM now() - coalesce(
               (SELECT max(finished_at) FROM reconciliation
                WHERE reconciliation.contract_id = contract.contract_id AND reconciliation.state = 'done'), created_at))
           FROM contract WHERE state IN ('live', 'draining')""",
    ),
    Gauge(
        "souche_balance_agrees",
        "1 where register, redeemer and operators agreed on the last day that was kept.",
        ("programme",),
        """SELECT DISTINCT ON (programme) programme, coalesce(agrees, false)::int FROM daily_balance
           ORDER BY programme, day DESC""",
    ),
    Gauge(
        "souche_unapplied_messages",
        "Messages of operators that are stored and not applied.",
        ("operator", "failed"),
        "SELECT operator, error IS NOT NULL, count(*) FROM message WHERE applied_at IS NULL GROUP BY 1, 2",
    ),
    Gauge(
        "souche_running_switches",
        "Switches of operator that have not finished.",
        (),
        "SELECT count(*) FROM switch WHERE finished_at IS NULL",
    ),
)
