-- Redemptions that the operator should have paid by now. Counted from when it accepted the declaration: what was
-- declared again after a switch is not late at once.
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
WHERE :lists_payments AND redemption.contract_id = :contract AND redemption.state IN ('due', 'confirmed')
  AND redemption.reference IS NOT NULL
  AND coalesce(declared.settled_at, declared.created_at, redemption.redeemed_at) < :overdue
  AND NOT EXISTS (SELECT FROM statement_payment paid WHERE paid.reference = redemption.reference)
ON CONFLICT DO NOTHING
