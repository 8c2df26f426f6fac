"""Statements and payments: queries of the redeemer whose every row is a fault."""

from collections.abc import Generator

import sqlalchemy as sa

from souche.verify.reading import stream

# Each gives a column `fault`, which says what does not fit and what should.
_CHECKS = (
    # Numbers begin at 1 in each year and none is missing.
    """
    SELECT format('statements of %s: %s are numbered up to %s', year, count(*), max(number)) AS fault
    FROM statement GROUP BY year HAVING count(*) <> max(number) OR min(number) <> 1
    """,
    # A statement is the sum of its lines, in all columns.
    """
    SELECT format('statement %s is of %s cents, %s confirmed and %s paid; its %s lines come to %s, %s and %s',
                  statement.name, statement.due_cents, statement.confirmed_cents, statement.paid_cents, lines.number,
                  lines.due_cents, lines.confirmed_cents, lines.paid_cents) AS fault
    FROM statement CROSS JOIN LATERAL (
        SELECT count(*) AS number, count(*) FILTER (WHERE corrects IS NULL) AS redemptions,
               coalesce(max(position), 0) AS last, coalesce(sum(due_cents), 0) AS due_cents,
               coalesce(sum(confirmed_cents), 0) AS confirmed_cents, coalesce(sum(paid_cents), 0) AS paid_cents
        FROM statement_line WHERE statement_id = statement.id
    ) lines
    WHERE (statement.redemptions, statement.redemptions + statement.corrections, statement.due_cents,
           statement.confirmed_cents, statement.paid_cents)
       <> (lines.redemptions, lines.number, lines.due_cents, lines.confirmed_cents, lines.paid_cents)
       OR lines.number <> lines.last OR lines.number = 0
    ORDER BY statement.id
    """,
    # A redemption is on the one statement that it names, as one line, as it is, with its structure; or on none.
    """
    SELECT format('redemption %s names statement %s and is on %s', coalesce(redemption.id, line.redemption_id),
                  coalesce(redemption.statement_id::text, 'none'), coalesce(line.statement_id::text, 'none')) AS fault
    FROM (SELECT * FROM redemption WHERE statement_id IS NOT NULL) redemption
    FULL JOIN (
        SELECT redemption_id, statement_id, statement_line.due_cents, cheque_id, structure_id
        FROM statement_line JOIN statement ON statement.id = statement_id WHERE corrects IS NULL
    ) line ON line.redemption_id = redemption.id
    WHERE (redemption.statement_id, redemption.amount_cents, redemption.cheque_id, redemption.structure_id)
          IS DISTINCT FROM (line.statement_id, line.due_cents, line.cheque_id, line.structure_id)
       OR redemption.reversed_at IS NOT NULL
    """,
    # What was stated of a redemption, corrections included, is never below nothing nor above its worth.
    """
    SELECT format('redemption %s of %s cents is stated with %s in all', redemption.id, redemption.amount_cents,
                  sum(due_cents)) AS fault
    FROM statement_line JOIN redemption ON redemption.id = redemption_id
    WHERE redemption_id IN (SELECT redemption_id FROM statement_line WHERE corrects IS NOT NULL)
    GROUP BY redemption.id
    HAVING sum(due_cents) NOT BETWEEN 0 AND redemption.amount_cents
        OR count(*) FILTER (WHERE corrects IS DISTINCT FROM redemption.statement_id AND corrects IS NOT NULL) > 0
    """,
    # The accountant's payments of a statement reach as far as what they settled.
    """
    SELECT format('statement %s: %s cents of redemptions are paid by %s cents', statement.name, settled.cents,
                  funds.cents) AS fault
    FROM (
        SELECT payment.statement_id, sum(line.due_cents) AS cents
        FROM redemption JOIN payment ON payment.id = redemption.payment_id
        LEFT JOIN LATERAL (
            SELECT max(due_cents) AS due_cents FROM statement_line
            WHERE statement_id = payment.statement_id AND redemption_id = redemption.id AND due_cents > 0
        ) line ON true
        GROUP BY payment.statement_id
    ) settled
    JOIN statement ON statement.id = settled.statement_id
    CROSS JOIN LATERAL (
        SELECT (SELECT sum(amount_cents) FROM payment WHERE statement_id = statement.id) - coalesce((
            SELECT sum(due_cents) FROM statement_line WHERE statement_id = statement.id AND due_cents < 0
        ), 0) AS cents
    ) funds
    WHERE settled.cents IS NULL OR settled.cents > funds.cents
    """,
    """
    SELECT format('redemption %s is %s and was settled by payment %s', redemption.id, state, payment_id) AS fault
    FROM redemption LEFT JOIN payment ON payment.id = payment_id
    WHERE payment_id IS NOT NULL AND (state <> 'paid' OR payment.id IS NULL OR redemption.statement_id IS NULL)
    """,
)


def faults(redeemer: sa.Engine) -> Generator[str, None, None]:
    """A sentence for each statement and payment that does not fit."""
    for check in _CHECKS:
        with stream(redeemer, check) as rows:
            yield from (row.fault for row in rows)
