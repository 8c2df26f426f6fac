-- Marks the redemptions that the payments of some statements pay. A line is paid when the payments of its statement,
-- and the credits on the same statement, cover it and all lines before it. Lines that an operator paid or refuses, or
-- that a correction took back whole, need no cover. A payment that was withdrawn covers nothing. `funds` has how far
-- the payments reach, each in its turn: the first one that reaches a line is the one that settles it.
WITH funds AS (
    SELECT id, statement_id, reference, paid_on,
           sum(amount_cents) OVER (PARTITION BY statement_id ORDER BY paid_on, id) + (
               SELECT coalesce(-sum(due_cents), 0) FROM statement_line
               WHERE statement_line.statement_id = payment.statement_id AND due_cents < 0
           ) AS upto
    FROM payment
    WHERE statement_id = ANY(CAST(:statements AS uuid[])) AND kind <> 'withdrawal'
      AND NOT EXISTS (SELECT FROM payment other WHERE other.withdraws = payment.id)
),
used AS (
    SELECT statement_line.statement_id, sum(due_cents) AS cents
    FROM statement_line JOIN redemption ON redemption.id = redemption_id
    JOIN payment ON payment.id = redemption.payment_id AND payment.statement_id = statement_line.statement_id
    WHERE statement_line.statement_id = ANY(CAST(:statements AS uuid[])) AND due_cents > 0
    GROUP BY statement_line.statement_id
),
unpaid AS (
    SELECT statement_line.statement_id, redemption.id, coalesce(used.cents, 0) + sum(due_cents) OVER (
               PARTITION BY statement_line.statement_id ORDER BY position
           ) AS upto
    FROM statement_line JOIN redemption ON redemption.id = redemption_id
    LEFT JOIN used ON used.statement_id = statement_line.statement_id
    WHERE statement_line.statement_id = ANY(CAST(:statements AS uuid[])) AND due_cents > 0
      AND state = ANY(:before) AND 0 < coalesce((
          SELECT owed_cents FROM redemption_correction WHERE redemption_correction.redemption_id = redemption.id
          ORDER BY redemption_correction.sequence DESC LIMIT 1
      ), 1)
),
covered AS (
    SELECT DISTINCT ON (unpaid.id) unpaid.id, funds.id AS payment_id, funds.paid_on,
           coalesce(nullif(funds.reference, ''), statement.name) AS reference
    FROM unpaid JOIN funds ON funds.statement_id = unpaid.statement_id AND funds.upto >= unpaid.upto
    JOIN statement ON statement.id = unpaid.statement_id
    ORDER BY unpaid.id, funds.upto
),
locked AS MATERIALIZED (
    SELECT id FROM redemption WHERE id IN (SELECT id FROM covered) AND state = ANY(:before) ORDER BY id FOR UPDATE
)
UPDATE redemption SET state = 'paid', payment_id = covered.payment_id, payment_reference = covered.reference,
                      paid_on = covered.paid_on, unpaid_state = state
FROM covered JOIN locked USING (id) WHERE redemption.id = covered.id
RETURNING redemption.id, contract_id, redemption.payment_id, redemption.payment_reference, redemption.paid_on
