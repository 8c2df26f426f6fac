-- Redemptions at the operator's till that no message reported, and those that the redeemer did not accept.
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
