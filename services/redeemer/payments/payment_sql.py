"""The statements of SQL that match payments with statements and settle redemptions by them."""

# A line is paid when the payments of its statement, and what the same statement takes back, cover it and all lines
# before it; what an operator paid or refuses, or a correction took back whole, is not to be covered. What was withdrawn
# covers nothing. `upto` is how far the payments reach, each in its turn: the one that first reaches a line is the one
# that settles it.
SETTLE = """
    WITH reach AS (
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
    open AS (
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
        SELECT DISTINCT ON (open.id) open.id, reach.id AS payment_id, reach.paid_on,
               coalesce(nullif(reach.reference, ''), statement.name) AS reference
        FROM open JOIN reach ON reach.statement_id = open.statement_id AND reach.upto >= open.upto
        JOIN statement ON statement.id = open.statement_id
        ORDER BY open.id, reach.upto
    ),
    held AS MATERIALIZED (
        SELECT id FROM redemption WHERE id IN (SELECT id FROM covered) AND state = ANY(:before) ORDER BY id FOR UPDATE
    )
    UPDATE redemption SET state = 'paid', payment_id = covered.payment_id, payment_reference = covered.reference,
                          paid_on = covered.paid_on, unpaid_state = state
    FROM covered JOIN held USING (id) WHERE redemption.id = covered.id
    RETURNING redemption.id, contract_id, redemption.payment_id, redemption.payment_reference, redemption.paid_on
"""

RECORD = """
    INSERT INTO payment (id, statement_id, amount_cents, paid_on, reference, file_digest, typed_by, typed_at)
    SELECT id, statement_id, amount_cents, paid_on, reference, :digest, :by, :now
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:statements AS uuid[]), CAST(:amounts AS bigint[]), CAST(:days AS date[]),
        CAST(:references AS text[])
    ) AS given (id, statement_id, amount_cents, paid_on, reference)
"""

# What the payments of a statement settled is open again, as it stands without them; each with what settled it.
OPEN_AGAIN = """
    WITH held AS MATERIALIZED (
        SELECT id, contract_id, payment_id, payment_reference, paid_on FROM redemption
        WHERE id IN (SELECT redemption_id FROM statement_line WHERE statement_id = :statement)
          AND payment_id IN (SELECT id FROM payment WHERE statement_id = :statement)
        ORDER BY id FOR UPDATE
    )
    UPDATE redemption SET state = coalesce(unpaid_state, 'due'), unpaid_state = NULL, payment_id = NULL,
                          payment_reference = NULL, paid_on = NULL
    FROM held WHERE redemption.id = held.id
    RETURNING held.id, held.contract_id, held.payment_id, held.payment_reference, held.paid_on
"""

# Of what is open again, some was paid by its operator too: then that payment is the one that settles it.
PAID_BY_OPERATOR = """
    WITH first AS (
        SELECT DISTINCT ON (redemption_id) * FROM repeated_payment
        WHERE redemption_id = ANY(CAST(:ids AS uuid[])) ORDER BY redemption_id, paid_on, payment_reference
    ),
    no_repetition AS (
        DELETE FROM repeated_payment USING first
        WHERE repeated_payment.redemption_id = first.redemption_id
          AND repeated_payment.payment_reference = first.payment_reference
    )
    UPDATE redemption SET state = 'paid', contract_id = first.contract_id, refusal_reason = NULL,
                          payment_reference = first.payment_reference, paid_on = first.paid_on
    FROM first WHERE redemption.id = first.redemption_id
    RETURNING redemption.id, redemption.contract_id, redemption.payment_id, redemption.payment_reference,
              redemption.paid_on
"""

# An entry of nothing, by which SETTLE marks what the statement's own corrections cover.
SET_OFF = """
    INSERT INTO payment (id, kind, statement_id, amount_cents, paid_on, reference, file_digest, typed_by, typed_at)
    SELECT id, 'set_off', statement_id, 0, :today, name, '', :by, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:statements AS uuid[]), CAST(:names AS text[]))
         AS given (id, statement_id, name)
    ON CONFLICT ON CONSTRAINT payment_once_key DO NOTHING
"""

# Statements stay locked until the payments are in: two files at once are taken in one after the other.
LOCK = """
    SELECT id, name, siret, due_cents FROM statement WHERE name = ANY(:names) ORDER BY id FOR UPDATE
"""

KNOWN = """
    SELECT statement_id, paid_on, amount_cents, reference,
           EXISTS (SELECT FROM payment other WHERE other.withdraws = payment.id) AS withdrawn
    FROM payment WHERE statement_id = ANY(:statements)
"""

# What operators reported under a reference, their first word or a repeated one.
REPORTED = """
    SELECT payment_reference, sum(amount_cents) AS cents FROM (
        SELECT payment_reference, amount_cents FROM redemption
        WHERE payment_reference = ANY(:references) AND state = 'paid' AND payment_id IS NULL
        UNION ALL
        SELECT repeated_payment.payment_reference, amount_cents
        FROM repeated_payment JOIN redemption ON redemption.id = redemption_id
        WHERE repeated_payment.payment_reference = ANY(:references)
    ) reported GROUP BY payment_reference
"""

# Every payment that the accountant typed, for `shared.exporting.export_in_parts`.
REGISTER = """
    SELECT payment.id AS payment_id, statement.name AS statement, statement.structure_name, statement.siret,
           payment.amount_cents, payment.paid_on, payment.reference, payment.typed_by, payment.typed_at, payment.kind,
           payment.withdraws, payment.reason
    FROM payment JOIN statement ON statement.id = payment.statement_id
    WHERE payment.id > :after
      AND (CAST(:since AS date) IS NULL OR payment.paid_on >= :since)
      AND (CAST(:until AS date) IS NULL OR payment.paid_on <= :until)
    ORDER BY payment.id LIMIT :limit
"""
