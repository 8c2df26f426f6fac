"""The SQL that sets credits off against statements, and that finds what is overdue."""

from services.redeemer.statements.statement_sql import PENDING, account_query

# Statements that come to nothing or less, with lines that nothing settles, although all that was stated to the
# structure until then is paid: what they take back was paid, so it pays these lines.
SET_OFF = f"""
    WITH waiting AS (
        SELECT DISTINCT statement.id, statement.name, statement.structure_id, statement.month
        FROM statement JOIN redemption ON redemption.statement_id = statement.id
        WHERE statement.due_cents <= 0 AND statement.id > :after AND redemption.state = ANY(:before) AND 0 < coalesce((
            SELECT owed_cents FROM redemption_correction WHERE redemption_correction.redemption_id = redemption.id
            ORDER BY redemption_correction.sequence DESC LIMIT 1
        ), 1)
    ),
    account AS (
        {account_query("'infinity'", "statement.structure_id IN (SELECT structure_id FROM waiting)")}
    )
    SELECT waiting.id, waiting.name
    FROM waiting JOIN account USING (structure_id) JOIN statement ON statement.id = account.id
    WHERE statement.month <= waiting.month
    GROUP BY waiting.id, waiting.name HAVING sum(account.due_cents - account.paid_cents) <= 0
    ORDER BY waiting.id LIMIT :limit
"""  # noqa: S608 (constants of this module)


_ISSUED_BY_THEN = """
    (statement.issued_at AT TIME ZONE 'Europe/Paris')::date <= :today
    AND (CAST(:structure_id AS uuid) IS NULL OR statement.structure_id = :structure_id)
"""

# What a structure owes back (paid too much on other statements, or corrections still to come) is taken off what is
# owed to it, the oldest first, before anything is called late.
LATE = f"""
    WITH account AS MATERIALIZED (
        SELECT account.*, account.due_cents - account.paid_cents AS open_cents
        FROM ({account_query(":today", _ISSUED_BY_THEN)}) account
    ),
    credit AS (
        SELECT structure_id, sum(cents) AS cents FROM (
            SELECT structure_id, -open_cents AS cents FROM account WHERE open_cents < 0
            UNION ALL SELECT structure_id, -cents FROM ({PENDING}) pending WHERE cents < 0
        ) back GROUP BY structure_id
    ),
    owed AS (
        SELECT account.*, least(open_cents, greatest(0, sum(open_cents) OVER (
                   PARTITION BY account.structure_id ORDER BY statement.due_on, statement.id
               ) - coalesce(credit.cents, 0))) AS late_cents
        FROM account JOIN statement USING (id) LEFT JOIN credit ON credit.structure_id = account.structure_id
        WHERE open_cents > 0
    )
    SELECT statement.name AS number, statement.id AS statement_id, statement.structure_id,
           statement.structure_name, statement.siret, statement.month, statement.due_on,
           CAST(:today AS date) - statement.due_on AS days_late, statement.due_cents, owed.paid_cents, owed.late_cents
    FROM owed JOIN statement USING (id)
    WHERE late_cents > 0 AND statement.due_on < :today
    ORDER BY statement.due_on, statement.id
"""  # noqa: S608 (constants of this module)
