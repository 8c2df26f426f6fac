"""The statements of SQL by which statements are issued and what is owed, stated and paid is compared."""

# What is owed for a redemption now, in cents: somebody's last word on it, nothing while its operator refuses it.
_OWED = """
    CASE WHEN redemption.state = 'refused' THEN 0 ELSE coalesce(said.owed_cents, redemption.amount_cents) END
"""

# Redemptions whose lines so far do not come to what is owed now: the difference is on the next statement.
PENDING = f"""
    SELECT redemption.id AS redemption_id, redemption.structure_id, redemption.cheque_id, redemption.programme,
           redemption.redeemed_at, redemption.given_on, redemption.state, redemption.statement_id AS corrects,
           {_OWED} - stated.cents AS cents,
           CASE WHEN redemption.state = 'refused' THEN coalesce(redemption.refusal_reason, 'refusée par l’opérateur')
                ELSE coalesce(said.reason, 'due à nouveau') END AS reason
    FROM redemption
    LEFT JOIN LATERAL (
        SELECT owed_cents, reason FROM redemption_correction WHERE redemption_id = redemption.id
        ORDER BY sequence DESC LIMIT 1
    ) said ON true
    CROSS JOIN LATERAL (
        SELECT redemption.amount_cents + coalesce(sum(due_cents), 0) AS cents
        FROM statement_line WHERE redemption_id = redemption.id AND corrects IS NOT NULL
    ) stated
    WHERE redemption.statement_id IS NOT NULL AND redemption.id IN (
        SELECT id FROM redemption WHERE state = 'refused'
        UNION SELECT redemption_id FROM redemption_correction
        UNION SELECT redemption_id FROM statement_line WHERE corrects IS NOT NULL
    ) AND {_OWED} <> stated.cents
"""  # noqa: S608 (constants of this module)

_UNSTATED = "statement_id IS NULL AND reversed_at IS NULL AND state <> 'refused' AND redeemed_at < :until"

# Who has something to be stated, of how many redemptions, and no statement of this month or a later one.
CANDIDATES = f"""
    SELECT structure.id, CAST(sum(waiting.number) AS bigint) AS lines
    FROM (
        SELECT structure_id, count(*) AS number FROM redemption WHERE {_UNSTATED} GROUP BY structure_id
        UNION ALL SELECT structure_id, count(*) FROM ({PENDING}) pending GROUP BY structure_id
    ) waiting
    JOIN structure ON structure.id = waiting.structure_id
    WHERE NOT EXISTS (SELECT FROM statement WHERE structure_id = structure.id AND statement.month >= :month)
      AND (CAST(:only AS uuid) IS NULL OR structure.id = :only)
      AND structure.id > :after
    GROUP BY structure.id ORDER BY structure.id LIMIT :limit
"""  # noqa: S608 (constants of this module)

# `held` locks what is stated and gives it as it stands once locked: who took a redemption back a moment ago has won,
# and who wants to a moment later finds it on the statement. What commits after this statement's snapshot waits for
# the next. Issuers go one after the other, so the highest number is nobody else's to take.
ISSUE = f"""
    WITH given AS (
        SELECT * FROM unnest(CAST(:structures AS uuid[]), CAST(:ids AS uuid[])) AS given (structure_id, statement_id)
        WHERE NOT EXISTS (
            SELECT FROM statement WHERE statement.structure_id = given.structure_id AND statement.month >= :month
        )
    ),
    held AS MATERIALIZED (
        SELECT * FROM redemption
        WHERE structure_id IN (SELECT structure_id FROM given) AND {_UNSTATED}
        ORDER BY id FOR UPDATE
    ),
    line AS MATERIALIZED (
        SELECT structure_id, id AS redemption_id, cheque_id, programme, redeemed_at, given_on, amount_cents AS cents,
               state, CAST(NULL AS uuid) AS corrects, CAST(NULL AS text) AS reason
        FROM held
        UNION ALL
        SELECT structure_id, redemption_id, cheque_id, programme, redeemed_at, given_on, cents, state, corrects, reason
        FROM ({PENDING}) pending WHERE structure_id IN (SELECT structure_id FROM given)
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
        SELECT given.statement_id, :year,
               (SELECT coalesce(max(number), 0) FROM statement WHERE year = :year)
                   + row_number() OVER (ORDER BY given.statement_id),
               structure.id, :month, :now, :by, CAST(:today AS date) + days, :authority, structure.name,
               structure.siret, structure.address, structure.postcode, structure.commune, redemptions, corrections,
               due_cents, confirmed_cents, paid_cents
        FROM summed JOIN given USING (structure_id) JOIN structure ON structure.id = structure_id
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
        FROM held JOIN made USING (structure_id) WHERE redemption.id = held.id
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
"""  # noqa: S608 (constants of this module)


def account(until: str, which: str) -> str:
    """What statements come to: what the accountant typed, what operators paid, and what they paid a second time.

    `until` is the last day of payments that count, `which` are the statements, as SQL. Each table is read once, however
    many statements these are.
    """
    return f"""
        SELECT statement.id, statement.structure_id, statement.due_cents,
               coalesce(stands.confirmed_cents, 0) AS confirmed_cents,
               coalesce(typed.cents, 0) + coalesce(stands.paid_cents, 0) + coalesce(again.cents, 0) AS paid_cents
        FROM statement
        LEFT JOIN (
            SELECT statement_id, sum(amount_cents) AS cents FROM payment
            WHERE paid_on <= {until} AND statement_id IN (SELECT id FROM statement WHERE {which})
            GROUP BY statement_id
        ) typed ON typed.statement_id = statement.id
        LEFT JOIN (
            SELECT statement_id, sum(amount_cents) FILTER (WHERE state IN ('confirmed', 'paid')) AS confirmed_cents,
                   sum(amount_cents) FILTER (
                       WHERE state = 'paid' AND payment_id IS NULL AND paid_on <= {until}
                   ) AS paid_cents
            FROM redemption
            WHERE statement_id IS NOT NULL AND statement_id IN (SELECT id FROM statement WHERE {which})
            GROUP BY statement_id
        ) stands ON stands.statement_id = statement.id
        LEFT JOIN (
            SELECT statement_id, sum(amount_cents) AS cents
            FROM repeated_payment JOIN redemption ON redemption.id = redemption_id
            WHERE state = 'paid' AND repeated_payment.paid_on <= {until}
              AND statement_id IN (SELECT id FROM statement WHERE {which})
            GROUP BY statement_id
        ) again ON again.statement_id = statement.id
        WHERE {which}
    """  # noqa: S608 (constants of this module)


ACCOUNT_OF = account("'infinity'", "statement.id = ANY(:ids)")

_OF_THE_REGISTER = """
    statement.id IN (
        SELECT id FROM statement
        WHERE id > :after AND (CAST(:structure_id AS uuid) IS NULL OR structure_id = :structure_id)
          AND (CAST(:month AS date) IS NULL OR month = :month)
        ORDER BY id LIMIT :limit
    )
"""


# Every statement as it was issued and as it stands now, for `shared.exporting.export_in_parts`.
REGISTER = f"""
    SELECT statement.id AS statement_id, statement.name AS number, statement.structure_id, statement.structure_name,
           statement.siret, to_char(statement.month, 'YYYY-MM') AS month, statement.issued_at, statement.due_on,
           statement.redemptions, statement.corrections, statement.due_cents, statement.confirmed_cents,
           statement.paid_cents, account.confirmed_cents AS confirmed_now_cents, account.paid_cents AS paid_now_cents,
           account.due_cents - account.paid_cents AS open_cents
    FROM ({account("'infinity'", _OF_THE_REGISTER)}) account JOIN statement USING (id)
    ORDER BY statement.id
"""  # noqa: S608 (constants of this module)
