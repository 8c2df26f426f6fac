"""The books of the issuer and of the redeemer: queries whose every row is a fault.

The issuer's journal is never rewritten, so a report as of a past day is as right as the journal; that it says of today
what the cheques say is what shows that every change was booked, and booked once.
"""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from souche.verify.reading import stream

# Each query has a column `fault`, which says what does not fit and what should.
ISSUER = (
    # A cheque that replaces another is of its grant, envelope and value.
    """
    SELECT format('cheque %s and %s, which replaces it, are not of one grant, envelope and value, the old one '
                  'cancelled', old_cheque_id, new_cheque_id) AS fault
    FROM replaced_cheque
    LEFT JOIN cheque old ON old.id = old_cheque_id LEFT JOIN cheque new ON new.id = new_cheque_id
    WHERE (issued_at IS NULL AND new.id IS NOT NULL) OR (
        issued_at IS NOT NULL AND (old.ending, old.grant_id, old.envelope_id, old.value_cents)
                                  IS DISTINCT FROM ('cancelled', new.grant_id, new.envelope_id, new.value_cents)
    ) ORDER BY old_cheque_id
    """,
    # A grant is the sum of its cheques, without those that were replaced.
    """
    SELECT format('grant %s is of %s cents and its cheques of %s', cheque_grant.id, cheque_grant.amount_cents,
                  coalesce(sum(cheque.value_cents), 0)) AS fault
    FROM cheque_grant LEFT JOIN cheque ON cheque.grant_id = cheque_grant.id AND NOT EXISTS (
        SELECT FROM replaced_cheque WHERE old_cheque_id = cheque.id AND issued_at IS NOT NULL
    )
    GROUP BY cheque_grant.id HAVING cheque_grant.amount_cents <> coalesce(sum(cheque.value_cents), 0)
    ORDER BY cheque_grant.id
    """,
    # An envelope's engaged money is the value of its cheques that are not cancelled or expired, within its amount.
    """
    SELECT format('envelope %s: %s cents engaged, %s charged, %s in all', convention_reference, engaged_cents,
                  coalesce(charged.cents, 0), amount_cents) AS fault
    FROM envelope LEFT JOIN (
        SELECT envelope_id, sum(value_cents) AS cents FROM cheque WHERE state NOT IN ('cancelled', 'expired') GROUP BY 1
    ) charged ON envelope_id = envelope.id
    WHERE amount_cents < engaged_cents OR engaged_cents <> coalesce(charged.cents, 0)
    ORDER BY envelope.id
    """,
    # The journal adds up to the cheques, by kind of entry.
    """
    WITH booked AS (
        SELECT envelope_id, CASE kind WHEN 'unused' THEN 'used' WHEN 'unpaid' THEN 'paid' ELSE kind END AS kind,
               sum(CASE WHEN kind IN ('unused', 'unpaid') THEN -number ELSE number END) AS number,
               sum(CASE WHEN kind IN ('unused', 'unpaid') THEN -cents ELSE cents END) AS cents
        FROM journal_entry GROUP BY 1, 2
    ), counted AS (
        SELECT envelope_id, 'engaged' AS kind, count(*) AS number, sum(value_cents) AS cents FROM cheque GROUP BY 1
        UNION ALL
        SELECT envelope_id, CASE ending WHEN 'redeemed' THEN 'used' ELSE ending END, count(*), sum(value_cents)
        FROM cheque WHERE ending IS NOT NULL GROUP BY 1, 2
        UNION ALL
        SELECT envelope_id, 'paid', count(*), sum(value_cents)
        FROM redemption JOIN cheque ON cheque.id = redemption.cheque_id WHERE paid_on IS NOT NULL GROUP BY 1
    )
    SELECT format('envelope %s: %s cheques of %s cents are booked as %s, %s of %s are', convention_reference,
                  coalesce(booked.number, 0), coalesce(booked.cents, 0), kind,
                  coalesce(counted.number, 0), coalesce(counted.cents, 0)) AS fault
    FROM booked FULL JOIN counted USING (envelope_id, kind) JOIN envelope ON envelope.id = envelope_id
    WHERE (coalesce(booked.number, 0), coalesce(booked.cents, 0))
       <> (coalesce(counted.number, 0), coalesce(counted.cents, 0))
    ORDER BY envelope_id, kind
    """,
    # A grant's charges are its cheques; one made in the place of another is not charged again.
    """
    WITH counted AS (
        SELECT grant_id, envelope_id, count(*) AS number, sum(value_cents) AS cents FROM cheque
        WHERE NOT EXISTS (SELECT FROM replaced_cheque WHERE old_cheque_id = cheque.id AND issued_at IS NOT NULL)
        GROUP BY 1, 2
    )
    SELECT format('grant %s: %s cheques of %s cents are charged, %s of %s are there', grant_id,
                  coalesce(charge.number, 0), coalesce(charge.cents, 0),
                  coalesce(counted.number, 0), coalesce(counted.cents, 0)) AS fault
    FROM charge FULL JOIN counted USING (grant_id, envelope_id)
    WHERE (charge.number, charge.cents) IS DISTINCT FROM (counted.number, counted.cents) ORDER BY grant_id
    """,
    """
    SELECT format('envelope %s: %s cents engaged for reserved publics, %s charged', envelope.convention_reference,
                  envelope.engaged_reserved_cents, coalesce(sum(cheque.value_cents), 0)) AS fault
    FROM envelope LEFT JOIN charge ON charge.envelope_id = envelope.id AND charge.reserved
    LEFT JOIN cheque ON cheque.envelope_id = envelope.id AND cheque.grant_id = charge.grant_id
        AND cheque.state NOT IN ('cancelled', 'expired')
    GROUP BY envelope.id HAVING envelope.engaged_reserved_cents <> coalesce(sum(cheque.value_cents), 0)
    ORDER BY envelope.id
    """,
    """
    SELECT format('envelope %s: %s cents in all, %s by its movements', envelope.convention_reference,
                  envelope.amount_cents, coalesce(sum(after_cents - before_cents), 0)) AS fault
    FROM envelope LEFT JOIN envelope_movement ON envelope_id = envelope.id
    GROUP BY envelope.id HAVING envelope.amount_cents <> coalesce(sum(after_cents - before_cents), 0)
    ORDER BY envelope.id
    """,
    """
    SELECT format('convention %s: %s cents, %s by its amendments, or another end', convention.reference,
                  convention.amount_cents, coalesce(agreed.amount_cents::text, 'none')) AS fault
    FROM convention LEFT JOIN LATERAL (
        SELECT amount_cents, ends_on FROM convention_amendment
        WHERE convention_id = convention.id ORDER BY sequence DESC LIMIT 1
    ) agreed ON true
    WHERE (convention.amount_cents, convention.ends_on) IS DISTINCT FROM (agreed.amount_cents, agreed.ends_on)
    ORDER BY convention.id
    """,
    """
    SELECT format('convention %s: %s cents granted, %s in its envelopes', convention.reference,
                  convention.amount_cents, sum(envelope.amount_cents)) AS fault
    FROM convention JOIN envelope ON envelope.convention_id = convention.id
    GROUP BY convention.id HAVING sum(envelope.amount_cents) > convention.amount_cents ORDER BY convention.id
    """,
)

REDEEMER = (
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
    SELECT format('statement %s: %s cents of redemptions are paid by %s cents', statement.name,
                  coalesce(settled.cents::text, 'no'), funds.cents) AS fault
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


def faults(engine: sa.Engine, checks: Sequence[str]) -> Iterator[str]:
    """A sentence for each row of a service's books that does not fit."""
    for check in checks:
        with stream(engine, check) as rows:
            yield from (row.fault for row in rows)
