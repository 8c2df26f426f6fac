"""The SQL by which statements are issued, and by which what is owed, stated and paid is compared."""

from shared.database import sql_files

PENDING = sql_files.load(__file__, "pending.sql")

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

ISSUE = sql_files.load(__file__, "issue.sql").replace("/* pending.sql */", PENDING)


def account_query(until: str, which: str) -> str:
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


ACCOUNT_OF = account_query("'infinity'", "statement.id = ANY(:ids)")

_OF_THE_REGISTER = """
    statement.id IN (
        SELECT id FROM statement
        WHERE id > :after AND (CAST(:structure_id AS uuid) IS NULL OR structure_id = :structure_id)
          AND (CAST(:month AS date) IS NULL OR month = :month)
        ORDER BY id LIMIT :limit
    )
"""


# Every statement as it was issued and as it stands now, for `shared.files.csv_export.export_in_parts`.
REGISTER = f"""
    SELECT statement.id AS statement_id, statement.name AS number, statement.structure_id, statement.structure_name,
           statement.siret, to_char(statement.month, 'YYYY-MM') AS month, statement.issued_at, statement.due_on,
           statement.redemptions, statement.corrections, statement.due_cents, statement.confirmed_cents,
           statement.paid_cents, account.confirmed_cents AS confirmed_now_cents, account.paid_cents AS paid_now_cents,
           account.due_cents - account.paid_cents AS open_cents
    FROM ({account_query("'infinity'", _OF_THE_REGISTER)}) account JOIN statement USING (id)
    ORDER BY statement.id
"""  # noqa: S608 (constants of this module)
