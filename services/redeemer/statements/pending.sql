-- Redemptions whose lines so far do not come to what is owed now: the difference is on the next statement. What is owed
-- is the last correction's amount, or else the redemption's own, and nothing while its operator refuses it.
SELECT redemption.id AS redemption_id, redemption.structure_id, redemption.cheque_id, redemption.programme,
       redemption.redeemed_at, redemption.given_on, redemption.state, redemption.statement_id AS corrects,
       owed.cents - stated.cents AS cents,
       CASE WHEN redemption.state = 'refused' THEN coalesce(redemption.refusal_reason, 'refusée par l’opérateur')
            ELSE coalesce(correction.reason, 'due à nouveau') END AS reason
FROM redemption
LEFT JOIN LATERAL (
    SELECT owed_cents, reason FROM redemption_correction WHERE redemption_id = redemption.id
    ORDER BY sequence DESC LIMIT 1
) correction ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN redemption.state = 'refused' THEN 0
                ELSE coalesce(correction.owed_cents, redemption.amount_cents) END AS cents
) owed
CROSS JOIN LATERAL (
    SELECT redemption.amount_cents + coalesce(sum(due_cents), 0) AS cents
    FROM statement_line WHERE redemption_id = redemption.id AND corrects IS NOT NULL
) stated
WHERE redemption.statement_id IS NOT NULL AND redemption.id IN (
    SELECT id FROM redemption WHERE state = 'refused'
    UNION SELECT redemption_id FROM redemption_correction
    UNION SELECT redemption_id FROM statement_line WHERE corrects IS NOT NULL
) AND owed.cents <> stated.cents
