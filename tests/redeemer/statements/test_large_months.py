"""A month with 200 000 redemptions closes by schedule, in slices that are each far from the time limit of a task."""

import time

import pytest
import sqlalchemy as sa

from services.redeemer.payments import closing
from services.redeemer.structures.models import Structure
from shared.process import slices
from shared.values import clock
from tests.redeemer.books import LAST_MONTH, THIS_MONTH, Books, noon
from tests.redeemer.conftest import Till

STRUCTURES, OF_EACH = 400, 500

_STRUCTURES = """
    INSERT INTO structure (id, source_id, {columns})
    SELECT CAST('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0') AS uuid), 'large ' || n, {columns}
    FROM (SELECT * FROM structure LIMIT 1) one, generate_series(0, :structures - 1) n
"""
_CHEQUES = """
    INSERT INTO cheque (id, digest, rules_id, grant_id, value_cents, granted_on, valid_until, presentable_until, active,
                        ending, redeemed_at)
    SELECT CAST('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS uuid), sha256(int8send(n)), rules_id,
           grant_id, 1000, granted_on, valid_until, presentable_until, true, 'redeemed', :at
    FROM (SELECT * FROM cheque LIMIT 1) one, generate_series(1, CAST(:number AS bigint)) n
"""
_REDEMPTIONS = """
    INSERT INTO redemption (id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, given_on,
                            redeemed_at, state)
    SELECT cheque.id, cheque.id, cheque.id,
           CAST('00000000-0000-7000-9000-' || lpad(to_hex(row_number() OVER () % :structures), 12, '0') AS uuid),
           'pass-numerique', 1000, 'till', CAST(:at AS date), :at, 'due'
    FROM cheque WHERE ending = 'redeemed'
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_month_with_200_000_redemptions_closes_in_short_slices(
    till: Till, owner: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(till)
    till.issue()
    columns = ", ".join(column.name for column in Structure.__table__.columns if column.name not in ("id", "source_id"))
    number, at = STRUCTURES * OF_EACH, noon(LAST_MONTH)
    books.write(_STRUCTURES.format(columns=columns), structures=STRUCTURES)
    books.write(_CHEQUES, number=number, at=at)
    books.write(_REDEMPTIONS, structures=STRUCTURES, at=at)
    with owner.begin() as connection:
        connection.exec_driver_sql("ANALYZE redeemer.structure, redeemer.cheque, redeemer.redemption")
    monkeypatch.setattr(clock, "today", lambda: THIS_MONTH.replace(day=5))

    runtime, durations, unfinished = till.redeemer.runtime, [], True
    while unfinished:
        began = time.monotonic()
        unfinished = closing.close_last_month(runtime, seconds=0)
        durations.append(time.monotonic() - began)

    assert len(durations) > STRUCTURES / 25
    assert max(durations) < slices.SECONDS
    [statements] = till.rows("SELECT count(*), sum(redemptions) AS lines, max(number) AS last FROM statement")
    assert (statements.count, statements.lines, statements.last) == (STRUCTURES, number, STRUCTURES)
    assert till.rows("SELECT count(*) FROM redemption WHERE statement_id IS NULL") == [(0,)]
    assert len(till.rows("SELECT FROM statement_month")) == 1
