"""Tables that only grow lose what is older than the settings say, and nothing is done twice for that."""

from datetime import timedelta

import sqlalchemy as sa

from shared.process import table_retention
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id
from tests.shared.conftest import Logs
from tests.shared.eventlog.test_log import pull, steps, tell

ANSWER = sa.text("""
    INSERT INTO idempotent_answer (caller, key, request_digest, status, body, created_at)
    VALUES ('somebody', :key, '', 201, '', :at)
""")


def run(runtime: Runtime, *statements: str) -> None:
    """Runs SQL as the owner of the database."""
    with runtime.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def count(runtime: Runtime, table: str) -> int:
    with runtime.engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_answers_go_after_their_days_batch_by_batch(logs: Logs) -> None:
    runtime, days = logs.runtime("redeemer"), 400
    with runtime.engine.begin() as connection:
        for number, age in enumerate([days + 1] * 5 + [days - 1]):
            connection.execute(ANSWER, {"key": str(number), "at": clock.now() - timedelta(days=age)})
    assert table_retention.prune(runtime, batch_size=2, seconds=0) == 2
    assert table_retention.prune(runtime, batch_size=2) == 3
    assert count(runtime, "idempotent_answer") == 1


def test_events_whose_ids_went_are_not_applied_again_when_their_log_is_read_again(logs: Logs) -> None:
    reader, cheque = logs.runtime("redeemer"), new_id()
    with logs.publisher() as publisher:
        tell(publisher, cheque, "a", "b")
        run(publisher, "UPDATE event SET occurred_at = occurred_at - interval '401 days'")
        assert pull(reader) == 2
        run(reader, "UPDATE applied_event SET applied_at = applied_at - interval '401 days'")
        assert table_retention.prune(reader) == 0, "nothing says yet that no event of that time is still to be read"
        tell(publisher, cheque, "c")
        assert pull(reader) == 1

        assert table_retention.prune(reader) == 2
        assert count(reader, "applied_event") == 1
        run(reader, "UPDATE cursor SET epoch = gen_random_uuid()")
        tell(publisher, cheque, "d")
        assert pull(reader) == 1
    assert steps(reader, cheque) == ["a", "b", "c", "d"]


def test_an_event_whose_transaction_was_open_for_long_is_applied_though_later_ones_were_forgotten(logs: Logs) -> None:
    reader, cheque = logs.runtime("redeemer"), new_id()
    with logs.publisher() as publisher:
        tell(publisher, cheque, "later")
        run(publisher, "UPDATE event SET occurred_at = occurred_at - interval '401 days'")
        assert pull(reader) == 1
        table_retention.prune(reader)
        tell(publisher, cheque, "earlier")
        run(publisher, "UPDATE event SET occurred_at = occurred_at - interval '401 days 1 hour' WHERE position IS NULL")
        assert pull(reader) == 1
    assert steps(reader, cheque) == ["later", "earlier"]
