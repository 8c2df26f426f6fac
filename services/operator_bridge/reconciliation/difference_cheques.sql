-- Cheques that differ, with both sides' rows.
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
