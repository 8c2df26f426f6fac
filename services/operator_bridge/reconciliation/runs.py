"""Runs of reconciliation: requested by a person or for the night, done by a worker, one at a time.

A run compares, records what it found, settles by policy what is safe, and counts what is left. All of it is
idempotent, so a run whose worker died is taken up again from its beginning.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.reconciliation import auto_resolution, comparing, recording
from services.operator_bridge.reconciliation.comparing import Sides
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models_reconciliation import Reconciliation
from services.operator_bridge.register.transitions import WORKING
from services.operator_bridge.workers import leases
from shared.database.lookup import get_or_404
from shared.observability.logs import logger
from shared.problems import Unavailable
from shared.process.runtime import Runtime
from shared.settings.settings import ConfigurationError
from shared.values import clock

NIGHT_HOUR = 3
"""From this hour on in Paris the runs of the day are due: the news of yesterday have long arrived."""

_MAX_ATTEMPTS = 8
_RETRY_SECONDS = 900

_REQUEST_NIGHT = sa.text("""
    INSERT INTO reconciliation (contract_id, night)
    SELECT contract_id, :night FROM contract WHERE state = ANY(:working)
    ON CONFLICT DO NOTHING
""")
_DUE = sa.text("""
    SELECT reconciliation_id FROM reconciliation
    WHERE state IN ('requested', 'running') AND next_attempt_at <= clock_timestamp() AND attempts < :most
    ORDER BY reconciliation_id
""")
# A run that is what kills its workers is not taken up for ever.
_GIVE_UP = sa.text("""
    UPDATE reconciliation SET state = 'failed', error = 'its workers ended before it did', finished_at = now()
    WHERE state = 'running' AND attempts >= :most AND started_at < now() - interval '1 hour'
""")
_START = sa.text("""
    UPDATE reconciliation SET state = 'running', started_at = :now, attempts = attempts + 1
    WHERE reconciliation_id = :run AND state IN ('requested', 'running')
    RETURNING contract_id
""")
# A run that a person requested fails at once; at night the operator is asked again later.
_FAIL = sa.text("""
    UPDATE reconciliation SET error = :error, next_attempt_at = clock_timestamp() + make_interval(secs => :wait),
        state = CASE WHEN night IS NULL OR attempts >= :most THEN 'failed' ELSE 'requested' END,
        finished_at = CASE WHEN night IS NULL OR attempts >= :most THEN clock_timestamp() END
    WHERE reconciliation_id = :run
""")
_FINISH = sa.text("""
    UPDATE reconciliation SET state = 'done', finished_at = clock_timestamp(), error = NULL, settled = :settled,
        waiting = (SELECT count(*) FROM discrepancy d
                   WHERE d.contract_id = reconciliation.contract_id AND d.state = 'waiting')
    WHERE reconciliation_id = :run
""")


def request(session: Session, contract_id: UUID) -> Reconciliation:
    """A run of a contract, to be done now; raises NotFound where there is no such contract."""
    contracts.find(session, contract_id)
    run = Reconciliation(contract_id=contract_id)
    session.add(run)
    session.flush()
    session.refresh(run)
    return run


def find(session: Session, reconciliation_id: UUID) -> Reconciliation:
    """A run; raises NotFound."""
    return get_or_404(session, Reconciliation, reconciliation_id, "There is no such reconciliation.")


def request_nightly(session: Session, now: datetime) -> None:
    """Requests, once a day and not before its hour, a run of every contract that orders are sent under."""
    there = now.astimezone(clock.PARIS)
    if there.hour >= NIGHT_HOUR:
        session.execute(_REQUEST_NIGHT, {"night": there.date(), "working": list(WORKING)})


def due(session: Session) -> list[UUID]:
    """The runs to do now, with the ones whose worker may have died."""
    session.execute(_GIVE_UP, {"most": _MAX_ATTEMPTS})
    return list(session.scalars(_DUE, {"most": _MAX_ATTEMPTS}))


def run(runtime: Runtime, reconciliation_id: UUID) -> bool:
    """Does a run if it is due. False where another one is at work: one at a time leaves workers for pushes."""
    with leases.alone(runtime, "reconcile") as first:
        if first:
            _attempt(runtime, reconciliation_id)
    return first


def _attempt(runtime: Runtime, reconciliation_id: UUID) -> None:
    with runtime.transaction() as session:
        contract_id = session.execute(_START, {"run": reconciliation_id, "now": clock.now()}).scalar_one_or_none()
    if contract_id is None:
        return
    try:
        both = comparing.sides(runtime, contract_id)
        settled = _reconcile(runtime, both, reconciliation_id) if both.comparable else 0
    except (Unavailable, ConfigurationError) as error:
        params = {"run": reconciliation_id, "error": str(error), "wait": _RETRY_SECONDS, "most": _MAX_ATTEMPTS}
        with runtime.transaction() as session:
            session.execute(_FAIL, params)
        logger().warning("reconciliation_failed", contract_id=str(contract_id), error=str(error))
        return
    with runtime.transaction() as session:
        _note(session, reconciliation_id, compared=both.comparable)
        session.execute(_FINISH, {"run": reconciliation_id, "settled": settled})
    logger().info("reconciled", contract=both.contract.code, settled=settled)


def _reconcile(runtime: Runtime, both: Sides, reconciliation_id: UUID) -> int:
    """Compares and records in one transaction, then settles in others; gives the number of differences acted on."""
    statement = comparing.statement(both)
    with comparing.compared(runtime.engine, both, statement) as (connection, lines):
        found = comparing.by_kind(connection)
        noted: dict[str, Any] = {
            "lines": lines,
            "moving": comparing.moving(connection),
            "ours": comparing.by_status(connection, "our"),
            "theirs": comparing.by_status(connection, "their"),
            "differences": found,
            "resolved": recording.keep(connection, both.contract, reconciliation_id),
        }
        connection.commit()
    cheques = sum(status["number"] for status in noted["ours"].values())
    withheld = auto_resolution.doubtful(sum(found.values()), cheques)
    with runtime.transaction() as session:
        _note(session, reconciliation_id, withheld=withheld, **noted)
    if withheld:
        logger().error("reconciliation_doubtful", contract=both.contract.code, differences=found)
        return 0
    return auto_resolution.settle(runtime, both.contract, reconciliation_id)


def _note(session: Session, reconciliation_id: UUID, **columns: Any) -> None:
    chosen = Reconciliation.reconciliation_id == reconciliation_id
    session.execute(sa.update(Reconciliation).where(chosen).values(columns))
