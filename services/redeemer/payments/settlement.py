"""How redemptions are settled: by the operators, and by the accountant's payments. Late events change nothing.

Every change of a redemption's state is here. A statement of zero or less is settled without a payment, by its credits:
an entry of 0 cents records that (a set-off), once all earlier statements of its structure are paid.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import partial
from itertools import groupby
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.redeemer.payments.models import SET_OFF, Payment
from services.redeemer.statements.issuing import BY_SCHEDULE, FIRST
from services.redeemer.statements.models import Statement
from services.redeemer.statements.statements import account_query
from services.redeemer.transitions import REDEMPTION
from shared.database import sql_files
from shared.eventlog import log
from shared.process import slices
from shared.values import clock

_MAX_IDS = 1000  # in an event
BATCH_SIZE = 25

# A redemption that its operator refuses is not owed: what was paid for it is taken off the next statement.
_PAYABLE = [state for state in REDEMPTION.before("paid") if state != "refused"]

_SETTLE = sa.text(sql_files.load(__file__, "settle.sql"))

_SETTLE_BY_OPERATOR = sa.text("""
    WITH news AS (
        SELECT * FROM unnest(
            CAST(:redemption_id AS uuid[]), CAST(:contract_id AS uuid[]), CAST(:refusal_reason AS text[]),
            CAST(:payment_reference AS text[]), CAST(:paid_on AS date[])
        ) AS input (id, contract_id, refusal_reason, payment_reference, paid_on)
    ),
    locked AS MATERIALIZED (
        SELECT id FROM redemption WHERE id = ANY(CAST(:redemption_id AS uuid[])) AND state = ANY(:before)
        ORDER BY id FOR UPDATE
    )
    UPDATE redemption SET state = :state, contract_id = news.contract_id, refusal_reason = news.refusal_reason,
                          payment_reference = news.payment_reference, paid_on = news.paid_on
    FROM news, locked WHERE redemption.id = news.id AND redemption.id = locked.id
""")

# Money that moved twice is a fact too: it is kept beside the payment that settled the redemption.
_NOTE_REPEATED = sa.text("""
    INSERT INTO repeated_payment (redemption_id, payment_reference, contract_id, paid_on)
    SELECT redemption.id, news.payment_reference, news.contract_id, news.paid_on
    FROM unnest(
        CAST(:redemption_id AS uuid[]), CAST(:contract_id AS uuid[]), CAST(:payment_reference AS text[]),
        CAST(:paid_on AS date[])
    ) AS news (id, contract_id, payment_reference, paid_on)
    JOIN redemption ON redemption.id = news.id
    WHERE state = 'paid' AND redemption.payment_reference IS DISTINCT FROM news.payment_reference
    ON CONFLICT DO NOTHING
""")

# What an operator reports of a redemption that the accountant paid counts, should that payment be withdrawn.
_MEANWHILE = sa.text("""
    UPDATE redemption SET unpaid_state = :state, refusal_reason = news.refusal_reason
    FROM unnest(CAST(:redemption_id AS uuid[]), CAST(:refusal_reason AS text[])) AS news (id, refusal_reason)
    WHERE redemption.id = news.id AND state = 'paid' AND payment_id IS NOT NULL AND unpaid_state = ANY(:before)
""")

# To readers of the withdrawal of a payment, the operator's payment must come after it, so it is published here.
_AFTER_WITHDRAWAL = sa.text("""
    SELECT redemption.id, contract_id, payment_reference, redemption.paid_on
    FROM redemption WHERE redemption.id = ANY(CAST(:redemption_id AS uuid[])) AND state = 'paid' AND payment_id IS NULL
      AND EXISTS (
          SELECT FROM statement_line JOIN payment USING (statement_id)
          WHERE statement_line.redemption_id = redemption.id AND payment.kind = 'withdrawal'
      )
""")

# The redemptions that the payments of a statement settled, each with the payment that settled it.
_REOPEN = sa.text("""
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
""")

# Redemptions that were reopened and that their operator paid too are settled by the operator's payment.
_PAID_BY_OPERATOR = sa.text("""
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
""")

# Statements that come to nothing or less, with lines that nothing settles, although all that was stated to the
# structure until then is paid: what they take back was paid, so it pays these lines.
_COVERED_BY_CREDITS = sa.text(f"""
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
""")  # noqa: S608 (constants of this package)


@dataclass(frozen=True)
class News:
    """What the operator of a contract reported of a redemption."""

    redemption_id: UUID
    contract_id: UUID | None
    refusal_reason: str | None = None
    payment_reference: str | None = None
    paid_on: date | None = None


def settle_by_operator(session: Session, state: str, news: Sequence[News]) -> None:
    """Brings redemptions to a state where that may follow theirs; notes further payments of redemptions paid before."""
    last = list({line.redemption_id: line for line in news}.values())
    params = {"state": state, "before": REDEMPTION.before(state), **_columns(last)}
    session.execute(_SETTLE_BY_OPERATOR, params)
    if state == "paid":
        session.execute(_NOTE_REPEATED, _columns(news))
        publish_paid(session, session.execute(_AFTER_WITHDRAWAL, params).all())
    else:
        session.execute(_MEANWHILE, params)


def settle(session: Session, statement_ids: Collection[UUID]) -> Sequence[Any]:
    """Marks the redemptions as paid that the payments of these statements newly cover, and returns them.

    The caller publishes them: `publish_paid`.
    """
    return session.execute(_SETTLE, {"statements": sorted(statement_ids), "before": _PAYABLE}).all()


def settle_anew(session: Session, statement_id: UUID) -> None:
    """Reopens what a statement's payments settled, settles it by what is left, and publishes the differences."""
    before = session.execute(_REOPEN, {"statement": statement_id}).all()
    by_operator = session.execute(_PAID_BY_OPERATOR, {"ids": [row.id for row in before]}).all()
    after = [*by_operator, *settle(session, [statement_id])]
    log.append_many(session, "redemptions.unpaid", list(_bodies(_missing(before, after))))
    publish_paid(session, _missing(after, before))


def set_off_slice(session: Session, after: UUID) -> tuple[int, UUID | None]:
    """Settles the first statements behind a statement whose credits cover what is due.

    Returns the number of redemptions settled, and the last of these statements: None behind the last of all.
    """
    limits = {"before": _PAYABLE, "after": after, "limit": BATCH_SIZE}
    unpaid = session.execute(_COVERED_BY_CREDITS, limits).all()
    if not unpaid:
        return 0, None
    ids = [row.id for row in unpaid]
    lock_statements(session, ids)
    alike = {"kind": SET_OFF, "amount_cents": 0, "paid_on": clock.today(), "file_digest": "", "typed_by": BY_SCHEDULE}
    entries = [{**alike, "statement_id": row.id, "reference": row.name, "typed_at": clock.now()} for row in unpaid]
    # `settle.sql` marks the lines that the statement's own credits cover as paid by this entry.
    session.execute(pg.insert(Payment).on_conflict_do_nothing(constraint="payment_once_key"), entries)
    settled = settle(session, ids)
    publish_paid(session, settled)
    return len(settled), ids[-1]


def set_off(session: Session) -> int:
    """Settles all statements whose credits cover what is due; returns the number of redemptions settled."""
    return slices.run(partial(set_off_slice, session), FIRST, math.inf)[0]


def lock_statements(session: Session, ids: Collection[UUID]) -> None:
    """Locks statements until their payments are in: whoever pays or withdraws for one of them waits."""
    session.execute(sa.select(Statement.id).where(Statement.id.in_(ids)).order_by(Statement.id).with_for_update())


def publish_paid(session: Session, rows: Iterable[Any]) -> None:
    """Publishes redemptions as paid, an event for each contract and payment."""
    log.append_many(session, "redemptions.paid", list(_bodies(rows)))


def _bodies(rows: Iterable[Any]) -> Iterator[tuple[object, Mapping[str, Any]]]:
    def payment(row: Any) -> tuple[str, str, date]:
        return str(row.contract_id or ""), row.payment_reference, row.paid_on

    for (_, reference, paid_on), group in groupby(sorted(rows, key=payment), payment):
        paid = list(group)
        body = {"contract_id": paid[0].contract_id, "payment_reference": reference, "paid_on": paid_on}
        ids = sorted(row.id for row in paid)
        for at in range(0, len(ids), _MAX_IDS):
            yield paid[0].contract_id or reference, {**body, "redemption_ids": ids[at : at + _MAX_IDS]}


def _missing(rows: Iterable[Any], others: Sequence[Any]) -> list[Any]:
    """The rows whose redemption is not paid by the same payment among the others."""
    paid = {(row.id, row.payment_id) for row in others}
    return [row for row in rows if (row.id, row.payment_id) not in paid]


def _columns(news: Sequence[News]) -> dict[str, Any]:
    return {column.name: [getattr(line, column.name) for line in news] for column in fields(News)}
