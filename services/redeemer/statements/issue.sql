-- Issues the statements of some structures for a month. The text of pending.sql replaces its name.
--
-- `locked` locks what is stated and gives it as it stands once locked: who took a redemption back a moment ago has won,
-- and who wants to a moment later finds it on the statement. What commits after this statement's snapshot waits for
-- the next. Issuers go one after the other, so the highest number is nobody else's to take.
WITH input AS (
    SELECT * FROM unnest(CAST(:structures AS uuid[]), CAST(:ids AS uuid[])) AS input (structure_id, statement_id)
    WHERE NOT EXISTS (
        SELECT FROM statement WHERE statement.structure_id = input.structure_id AND statement.month >= :month
    )
),
locked AS MATERIALIZED (
    SELECT * FROM redemption
    WHERE structure_id IN (SELECT structure_id FROM input)
      AND statement_id IS NULL AND reversed_at IS NULL AND state <> 'refused' AND redeemed_at < :until
    ORDER BY id FOR UPDATE
),
line AS MATERIALIZED (
    SELECT structure_id, id AS redemption_id, cheque_id, programme, redeemed_at, given_on, amount_cents AS cents,
           state, CAST(NULL AS uuid) AS corrects, CAST(NULL AS text) AS reason
    FROM locked
    UNION ALL
    SELECT structure_id, redemption_id, cheque_id, programme, redeemed_at, given_on, cents, state, corrects, reason
    FROM (/* pending.sql */) pending WHERE structure_id IN (SELECT structure_id FROM input)
),
counted AS MATERIALIZED (
    SELECT *,
           CASE WHEN cents > 0 AND state IN ('confirmed', 'paid') THEN cents ELSE 0 END AS confirmed_cents,
           CASE WHEN cents > 0 AND state = 'paid' THEN cents ELSE 0 END AS paid_cents,
           row_number() OVER (
               PARTITION BY structure_id ORDER BY corrects IS NOT NULL, redeemed_at, redemption_id
           ) AS position
    FROM line
),
summed AS (
    SELECT structure_id, count(*) FILTER (WHERE corrects IS NULL) AS redemptions, count(corrects) AS corrections,
           sum(cents) AS due_cents, sum(confirmed_cents) AS confirmed_cents, sum(paid_cents) AS paid_cents,
           min(coalesce(payment_term.days, :term)) AS days
    FROM counted LEFT JOIN payment_term USING (programme) GROUP BY structure_id
),
made AS (
    INSERT INTO statement (id, year, number, structure_id, month, issued_at, issued_by, due_on, authority,
                           structure_name, siret, address, postcode, commune, redemptions, corrections, due_cents,
                           confirmed_cents, paid_cents)
    SELECT input.statement_id, :year,
           (SELECT coalesce(max(number), 0) FROM statement WHERE year = :year)
               + row_number() OVER (ORDER BY input.statement_id),
           structure.id, :month, :now, :by, CAST(:today AS date) + days, :authority, structure.name,
           structure.siret, structure.address, structure.postcode, structure.commune, redemptions, corrections,
           due_cents, confirmed_cents, paid_cents
    FROM summed JOIN input USING (structure_id) JOIN structure ON structure.id = structure_id
    RETURNING *
),
written AS (
    INSERT INTO statement_line (statement_id, position, kind, redemption_id, cheque_id, programme, programme_name,
                                presented_on, given_on, due_cents, confirmed_cents, paid_cents, corrects, reason)
    SELECT made.id, position, CASE WHEN corrects IS NULL THEN 'redemption' ELSE 'correction' END, redemption_id,
           cheque_id, programme, programme.name, (redeemed_at AT TIME ZONE 'Europe/Paris')::date, given_on, cents,
           counted.confirmed_cents, counted.paid_cents, corrects, reason
    FROM counted JOIN made USING (structure_id) LEFT JOIN programme ON programme.code = counted.programme
),
marked AS (
    UPDATE redemption SET statement_id = made.id
    FROM locked JOIN made USING (structure_id) WHERE redemption.id = locked.id
),
annexed AS (
    INSERT INTO statement_refusal (redemption_id, statement_id, programme, presented_on, given_on, amount_cents,
                                   reason)
    SELECT redemption.id, made.id, programme, (redeemed_at AT TIME ZONE 'Europe/Paris')::date, given_on,
           amount_cents, coalesce(refusal_reason, 'refusée par l’opérateur')
    FROM redemption JOIN made USING (structure_id)
    WHERE statement_id IS NULL AND reversed_at IS NULL AND state = 'refused' AND redeemed_at < :until
      AND NOT EXISTS (SELECT FROM statement_refusal WHERE redemption_id = redemption.id)
)
SELECT id FROM made ORDER BY number
