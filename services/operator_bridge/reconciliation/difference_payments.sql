-- Payments. One that is recorded under another transfer too was made twice; one without a redemption that lives has no
-- ground.
INSERT INTO difference
SELECT kind, CASE WHEN twice THEN reference || ' ' || payment_reference ELSE reference END, cheque_id, ours, theirs
FROM (
    SELECT line.*, coalesce(redemption.cheque_id, report.cheque_id, till.cheque_id) AS cheque_id,
           recorded.payment_reference IS DISTINCT FROM line.payment_reference
               AND recorded.reference IS NOT NULL AS twice,
           CASE WHEN recorded.payment_reference <> line.payment_reference THEN 'paid_not_redeemed'
                WHEN redemption.state = 'paid' THEN NULL
                WHEN redemption.state IN ('due', 'confirmed') THEN 'status_differs'
                WHEN redemption.redemption_id IS NOT NULL THEN 'paid_not_redeemed'
                WHEN till.reference IS NOT NULL OR report.report_id IS NOT NULL AND report.contested IS NULL
                     THEN CASE WHEN recorded.reference IS NULL THEN 'status_differs' END
                ELSE 'paid_not_redeemed' END AS kind,
           jsonb_strip_nulls(jsonb_build_object(
                'redemption_id', redemption.redemption_id, 'state', redemption.state,
                'amount_cents', redemption.amount_cents, 'structure_id', redemption.structure_id,
                'payment_reference', recorded.payment_reference, 'paid_on', recorded.paid_on)) AS ours,
           jsonb_build_object('reference', line.reference, 'payment_reference', line.payment_reference,
                'paid_on', line.paid_on) AS theirs
    FROM (SELECT DISTINCT reference, payment_reference, paid_on FROM statement_payment) line
    LEFT JOIN payment recorded ON recorded.operator = :operator AND recorded.reference = line.reference
    LEFT JOIN redemption ON redemption.reference = line.reference AND redemption.contract_id = :contract
    LEFT JOIN report ON report.contract_id = :contract AND report.reference = line.reference
    LEFT JOIN (SELECT DISTINCT ON (reference) reference, cheque_id FROM statement_redemption) till
         ON till.reference = line.reference AND report.report_id IS NULL
) found
WHERE kind IS NOT NULL
ON CONFLICT DO NOTHING
