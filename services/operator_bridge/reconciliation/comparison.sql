-- Every cheque of either side beside the other, with the kind of its difference. An operator that takes no blocking has
-- nothing to say of it. A link that was closed while its cheque lives on was closed because another operator has the
-- cheque now (moved): whether this one still lists it does not count, unless it was spent there; not even that where
-- the redemption is one that this operator took and another has to pay now (passed_on). Redemptions that the statement
-- lists by themselves, and contested reports (listed), are compared in difference_redemptions.sql.
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
), listed AS (
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
                CASE WHEN listed.cheque_id IS NOT NULL THEN NULL
                     WHEN o.status = 'moved' AND passed_on.cheque_id IS NOT NULL THEN NULL
                     WHEN o.spent THEN 'redeemed_twice' ELSE 'redeemed_there_not_here' END
            WHEN o.status = 'moved' THEN NULL
            WHEN o.status <> s.status THEN 'status_differs'
            WHEN o.redeemed_cents <> s.redeemed_cents THEN 'amount_differs' END AS kind
FROM ours o FULL JOIN theirs s USING (cheque_id)
LEFT JOIN moving ON moving.cheque_id = coalesce(o.cheque_id, s.cheque_id)
LEFT JOIN listed ON listed.cheque_id = coalesce(o.cheque_id, s.cheque_id)
LEFT JOIN passed_on ON passed_on.cheque_id = o.cheque_id
