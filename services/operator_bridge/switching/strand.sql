-- Strands prepaid cheques whose operator has failed: its debt for each is recorded when its link is stranded, from
-- the rows as they were. Whether a redemption was declared is in the order that declared it: sent, or confirmed by then.
WITH chosen AS (
    SELECT cheque_id, state FROM link WHERE contract_id = :old AND state = ANY(:before)
    LIMIT :limit FOR UPDATE
), claimed AS (
    INSERT INTO claim (switch_id, cheque_id, kind, amount_cents, structure_id, redemption_id, reference,
                       given_on, redeemed_at)
    SELECT :switch, cheque.cheque_id,
           CASE WHEN owed.redemption_id IS NULL THEN 'unspent' WHEN owed.declared THEN 'declared'
                ELSE 'undeclared' END,
           coalesce(owed.amount_cents, cheque.value_cents), owed.structure_id, owed.redemption_id,
           CASE WHEN owed.declared THEN owed.reference END, owed.given_on, owed.redeemed_at
    FROM chosen JOIN cheque USING (cheque_id)
    LEFT JOIN LATERAL (
        SELECT redemption.*, redemption.state = 'confirmed' OR EXISTS (
                   SELECT FROM operator_order o WHERE o.redemption_id = redemption.redemption_id
                   AND o.contract_id = :old AND o.kind = 'declare' AND o.state IN ('sent', 'unknown')) AS declared
        FROM redemption WHERE redemption.cheque_id = chosen.cheque_id
        AND (redemption.contract_id = :old OR redemption.contract_id IS NULL)
        AND redemption.state IN ('due', 'confirmed', 'refused') ORDER BY redemption_id DESC LIMIT 1
    ) owed ON true
    WHERE chosen.state = 'registered'
    ON CONFLICT DO NOTHING
)
UPDATE link SET state = 'stranded', changed_at = clock_timestamp()
FROM chosen WHERE link.contract_id = :old AND link.cheque_id = chosen.cheque_id
RETURNING link.cheque_id
