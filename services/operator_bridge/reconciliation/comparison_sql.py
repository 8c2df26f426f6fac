"""The statements that compare: each takes whole tables, none takes a row at a time.

`moving` are the cheques not to be compared, `comparison` is every cheque of either side beside the other, `difference`
is what does not fit, one row each, with both sides' rows as JSON.
"""

from collections.abc import Mapping

import sqlalchemy as sa

MOVING = sa.text("""
    CREATE TEMPORARY TABLE moving AS
    SELECT cheque_id FROM operator_order
    WHERE contract_id = :contract AND cheque_id IS NOT NULL AND (settled_at IS NULL OR settled_at >= :taken_at)
    UNION
    SELECT report.cheque_id FROM report
    WHERE report.contract_id = :contract AND report.contested IS NULL
      AND (report.received_at >= :taken_at OR NOT EXISTS (
            SELECT FROM redemption WHERE redemption.contract_id = report.contract_id
            AND redemption.reference = report.reference))
""")

# An operator that takes no blocking has nothing to say of it. A link that was closed while its cheque lives on was
# closed because another operator has the cheque now (`moved`): whether this one still lists it does not count, unless
# it was spent there; not even that where the redemption is one that this operator took and another has to pay now
# (`passed_on`). What a till's line of the statement tells, or a report that was contested, is not told again here.
COMPARE = sa.text("""
    CREATE TEMPORARY TABLE comparison AS
    WITH ours AS (
        SELECT link.cheque_id, cheque.value_cents, coalesce(redemption.amount_cents, 0) AS redeemed_cents,
               cheque.state = 'redeemed' AS spent,
               CASE WHEN cheque.state IN ('cancelled', 'expired') THEN 'cancelled'
                    WHEN redemption.redemption_id IS NOT NULL THEN 'redeemed'
                    WHEN link.state = 'closed' THEN 'moved'
                    WHEN cheque.blocked AND :blocks THEN 'blocked' ELSE 'registered' END AS status
        FROM link JOIN cheque USING (cheque_id)
        LEFT JOIN redemption ON redemption.cheque_id = link.cheque_id AND redemption.contract_id = link.contract_id
             AND redemption.state IN ('confirmed', 'paid')
        WHERE link.contract_id = :contract AND link.state IN ('registered', 'closed')
    ), theirs AS (
        SELECT DISTINCT cheque_id, status, value_cents, redeemed_cents FROM statement_line
    ), told AS (
        SELECT line.cheque_id FROM statement_redemption line
        LEFT JOIN report ON report.cheque_id = line.cheque_id AND report.reference = line.reference
        WHERE report.report_id IS NULL OR report.contested IS NOT NULL
        UNION SELECT cheque_id FROM report WHERE contract_id = :contract AND contested IS NOT NULL
    ), passed_on AS (
        SELECT cheque_id FROM operator_order
        WHERE contract_id = :contract AND kind = 'declare' AND state = 'accepted'
        UNION SELECT cheque_id FROM report WHERE contract_id = :contract AND contested IS NULL
    )
    SELECT coalesce(o.cheque_id, s.cheque_id) AS cheque_id,
           o.status AS our_status, o.value_cents AS our_cents, o.redeemed_cents AS our_redeemed_cents,
           s.status AS their_status, s.value_cents AS their_cents, s.redeemed_cents AS their_redeemed_cents,
           moving.cheque_id IS NOT NULL AS moving,
           CASE WHEN moving.cheque_id IS NOT NULL THEN NULL
                WHEN s.cheque_id IS NULL THEN CASE WHEN o.status <> 'moved' THEN 'missing_at_operator' END
                WHEN o.cheque_id IS NULL THEN 'unknown_here'
                WHEN s.redeemed_cents > s.value_cents THEN 'redeemed_twice'
                WHEN o.value_cents <> s.value_cents THEN 'amount_differs'
                WHEN s.status = 'redeemed' AND o.status <> 'redeemed' THEN
                    CASE WHEN told.cheque_id IS NOT NULL THEN NULL
                         WHEN o.status = 'moved' AND passed_on.cheque_id IS NOT NULL THEN NULL
                         WHEN o.spent THEN 'redeemed_twice' ELSE 'redeemed_there_not_here' END
                WHEN o.status = 'moved' THEN NULL
                WHEN o.status <> s.status THEN 'status_differs'
                WHEN o.redeemed_cents <> s.redeemed_cents THEN 'amount_differs' END AS kind
    FROM ours o FULL JOIN theirs s USING (cheque_id)
    LEFT JOIN moving ON moving.cheque_id = coalesce(o.cheque_id, s.cheque_id)
    LEFT JOIN told ON told.cheque_id = coalesce(o.cheque_id, s.cheque_id)
    LEFT JOIN passed_on ON passed_on.cheque_id = o.cheque_id
""")

_CREATE = sa.text("""
    CREATE TEMPORARY TABLE difference (
        kind text NOT NULL, reference text NOT NULL, cheque_id uuid, ours jsonb NOT NULL, theirs jsonb NOT NULL,
        PRIMARY KEY (kind, reference)
    )
""")

_CHEQUES = sa.text("""
    INSERT INTO difference
    SELECT c.kind, c.cheque_id::text, c.cheque_id,
           CASE WHEN cheque.cheque_id IS NULL THEN '{}' ELSE jsonb_strip_nulls(jsonb_build_object(
                'status', c.our_status, 'value_cents', cheque.value_cents, 'redeemed_cents', c.our_redeemed_cents,
                'cheque', cheque.state, 'blocked', cheque.blocked, 'link', link.state, 'reason', link.reason)) END,
           CASE WHEN c.their_status IS NULL THEN '{}' ELSE jsonb_build_object(
                'status', c.their_status, 'value_cents', c.their_cents,
                'redeemed_cents', c.their_redeemed_cents) END
    FROM comparison c
    LEFT JOIN cheque ON cheque.cheque_id = c.cheque_id
    LEFT JOIN link ON link.cheque_id = c.cheque_id AND link.contract_id = :contract
    WHERE c.kind IS NOT NULL
    ON CONFLICT DO NOTHING
""")

# What the operator's till took and no message told of, and what the redeemer did not accept.
_REDEMPTIONS = sa.text("""
    INSERT INTO difference
    SELECT CASE WHEN link.cheque_id IS NULL THEN 'unknown_here'
                WHEN report.contested = 'already-redeemed' OR report.report_id IS NULL AND redemption.redemption_id
                     IS NOT NULL THEN 'redeemed_twice'
                ELSE 'redeemed_there_not_here' END,
           line.reference, line.cheque_id,
           jsonb_strip_nulls(jsonb_build_object(
                'reason', report.contested, 'cheque', cheque.state, 'blocked', cheque.blocked, 'link', link.state,
                'redemption_id', redemption.redemption_id, 'redeemed_at', redemption.redeemed_at,
                'structure_id', redemption.structure_id, 'state', redemption.state)),
           jsonb_build_object(
                'reference', line.reference, 'amount_cents', line.amount_cents, 'structure_id', line.structure_id,
                'redeemed_at', line.redeemed_at)
    FROM statement_redemption line
    LEFT JOIN report ON report.cheque_id = line.cheque_id AND report.reference = line.reference
    LEFT JOIN cheque ON cheque.cheque_id = line.cheque_id
    LEFT JOIN link ON link.cheque_id = line.cheque_id AND link.contract_id = :contract AND link.state <> 'refused'
    LEFT JOIN redemption ON redemption.cheque_id = line.cheque_id AND redemption.state <> 'reversed'
    WHERE report.report_id IS NULL OR report.contested IS NOT NULL
    ON CONFLICT DO NOTHING
""")

# A payment that is known by another transfer too was made twice; one without a redemption that lives has no ground.
_PAYMENTS = sa.text("""
    INSERT INTO difference
    SELECT kind, CASE WHEN twice THEN reference || ' ' || payment_reference ELSE reference END, cheque_id, ours, theirs
    FROM (
        SELECT line.*, coalesce(redemption.cheque_id, report.cheque_id, till.cheque_id) AS cheque_id,
               known.payment_reference IS DISTINCT FROM line.payment_reference AND known.reference IS NOT NULL AS twice,
               CASE WHEN known.payment_reference <> line.payment_reference THEN 'paid_not_redeemed'
                    WHEN redemption.state = 'paid' THEN NULL
                    WHEN redemption.state IN ('due', 'confirmed') THEN 'status_differs'
                    WHEN redemption.redemption_id IS NOT NULL THEN 'paid_not_redeemed'
                    WHEN till.reference IS NOT NULL OR report.report_id IS NOT NULL AND report.contested IS NULL
                         THEN CASE WHEN known.reference IS NULL THEN 'status_differs' END
                    ELSE 'paid_not_redeemed' END AS kind,
               jsonb_strip_nulls(jsonb_build_object(
                    'redemption_id', redemption.redemption_id, 'state', redemption.state,
                    'amount_cents', redemption.amount_cents, 'structure_id', redemption.structure_id,
                    'payment_reference', known.payment_reference, 'paid_on', known.paid_on)) AS ours,
               jsonb_build_object('reference', line.reference, 'payment_reference', line.payment_reference,
                    'paid_on', line.paid_on) AS theirs
        FROM (SELECT DISTINCT reference, payment_reference, paid_on FROM statement_payment) line
        LEFT JOIN payment known ON known.operator = :operator AND known.reference = line.reference
        LEFT JOIN redemption ON redemption.reference = line.reference AND redemption.contract_id = :contract
        LEFT JOIN report ON report.contract_id = :contract AND report.reference = line.reference
        LEFT JOIN (SELECT DISTINCT ON (reference) reference, cheque_id FROM statement_redemption) till
             ON till.reference = line.reference AND report.report_id IS NULL
    ) found
    WHERE kind IS NOT NULL
    ON CONFLICT DO NOTHING
""")

# Counted from when the operator accepted the declaration: what was declared anew after a switch is not late at once.
_OVERDUE = sa.text("""
    INSERT INTO difference
    SELECT 'redeemed_not_paid_in_time', redemption.reference, redemption.cheque_id,
           jsonb_build_object(
                'redemption_id', redemption.redemption_id, 'state', redemption.state,
                'amount_cents', redemption.amount_cents, 'structure_id', redemption.structure_id,
                'redeemed_at', redemption.redeemed_at, 'declared_at', declared.settled_at),
           '{}'
    FROM redemption
    LEFT JOIN operator_order declared
         ON declared.redemption_id = redemption.redemption_id AND declared.order_id::text = redemption.reference
    WHERE :tells_payments AND redemption.contract_id = :contract AND redemption.state IN ('due', 'confirmed')
      AND redemption.reference IS NOT NULL
      AND coalesce(declared.settled_at, declared.created_at, redemption.redeemed_at) < :overdue
      AND NOT EXISTS (SELECT FROM statement_payment paid WHERE paid.reference = redemption.reference)
    ON CONFLICT DO NOTHING
""")

DIFFER = (_CREATE, _CHEQUES, _REDEMPTIONS, _PAYMENTS, _OVERDUE)
"""Makes `difference`, kind by kind."""

TOTALS = sa.text("""
    SELECT count(our_status) AS our_cheques, coalesce(sum(our_cents), 0) AS our_cents,
           coalesce(sum(our_redeemed_cents), 0) AS our_redeemed_cents,
           count(their_status) AS their_cheques, coalesce(sum(their_cents), 0) AS their_cents,
           coalesce(sum(their_redeemed_cents), 0) AS their_redeemed_cents
    FROM comparison
""")
MOVED = sa.text("SELECT count(*) FROM comparison WHERE moving")
COUNT = sa.text("SELECT count(*) FROM difference")
BY_KIND = sa.text("SELECT kind, count(*) AS number FROM difference GROUP BY kind ORDER BY kind")
EXAMPLES = sa.text("""
    SELECT kind, count(*) AS count,
           jsonb_agg(to_jsonb(ranked) - 'kind' - 'rank' ORDER BY rank) FILTER (WHERE rank <= :examples) AS examples
    FROM (SELECT *, row_number() OVER (PARTITION BY kind ORDER BY reference) AS rank FROM difference) ranked
    GROUP BY kind ORDER BY kind
""")
BY_STATUS: Mapping[str, sa.TextClause] = {
    "our": sa.text("""
        SELECT our_status AS status, count(*) AS number, sum(our_cents)::bigint AS cents,
               sum(our_redeemed_cents)::bigint AS redeemed
        FROM comparison WHERE our_status IS NOT NULL GROUP BY 1 ORDER BY 1
    """),
    "their": sa.text("""
        SELECT their_status AS status, count(*) AS number, sum(their_cents)::bigint AS cents,
               sum(their_redeemed_cents)::bigint AS redeemed
        FROM comparison WHERE their_status IS NOT NULL GROUP BY 1 ORDER BY 1
    """),
}
"""What either side has, by status."""
