"""The statements of SQL that match payments with statements and settle redemptions by them."""

RECORD = """
    INSERT INTO payment (id, statement_id, amount_cents, paid_on, reference, file_digest, typed_by, typed_at)
    SELECT id, statement_id, amount_cents, paid_on, reference, :digest, :by, :now
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:statements AS uuid[]), CAST(:amounts AS bigint[]), CAST(:days AS date[]),
        CAST(:references AS text[])
    ) AS input (id, statement_id, amount_cents, paid_on, reference)
"""

# Reopens the redemptions that the payments of a statement settled, and gives each with the payment that settled it.
REOPEN = """
    WITH locked AS MATERIALIZED (
        SELECT id, contract_id, payment_id, payment_reference, paid_on FROM redemption
        WHERE id IN (SELECT redemption_id FROM statement_line WHERE statement_id = :statement)
          AND payment_id IN (SELECT id FROM payment WHERE statement_id = :statement)
        ORDER BY id FOR UPDATE
    )
    UPDATE redemption SET state = coalesce(unpaid_state, 'due'), unpaid_state = NULL, payment_id = NULL,
                          payment_reference = NULL, paid_on = NULL
    FROM locked WHERE redemption.id = locked.id
    RETURNING locked.id, locked.contract_id, locked.payment_id, locked.payment_reference, locked.paid_on
"""

# Redemptions that were reopened and that their operator paid too are settled by the operator's payment.
PAID_BY_OPERATOR = """
    WITH first AS (
        SELECT DISTINCT ON (redemption_id) * FROM repeated_payment
        WHERE redemption_id = ANY(CAST(:ids AS uuid[])) ORDER BY redemption_id, paid_on, payment_reference
    ),
    no_longer_repeated AS (
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

# An entry of 0 cents, by which `settle.sql` marks the lines that the statement's own credits cover.
SET_OFF = """
    INSERT INTO payment (id, kind, statement_id, amount_cents, paid_on, reference, file_digest, typed_by, typed_at)
    SELECT id, 'set_off', statement_id, 0, :today, name, '', :by, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:statements AS uuid[]), CAST(:names AS text[]))
         AS input (id, statement_id, name)
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

# Every payment that the accountant typed, for `shared.files.csv_export.export_in_parts`.
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
