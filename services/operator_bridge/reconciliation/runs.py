"""Runs of reconciliation: requested by a person or for the night, done by a worker, one at a time.

A run compares, records what it found, settles by policy what is safe, and counts what is left. All of it is
idempotent, so a run whose worker died is taken up again from its beginning.

A difference is one row for good, found by its operator, kind and reference. If it comes again, it is opened again, with
its earlier end in its history; if a person accepted it, it stays closed as long as both sides' rows stay the same.
"""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.reconciliation import auto_resolution, comparing
from services.operator_bridge.reconciliation.comparing import Sides
from services.operator_bridge.register import contracts
from services.operator_bridge.register.models import Contract
from services.operator_bridge.register.models_reconciliation import Reconciliation
from services.operator_bridge.register.transitions import WORKING
from services.operator_bridge.workers import leases
from shared.database.lookup import get_or_404
from shared.observability.logs import logger
from shared.problems import Unavailable
from shared.process.runtime import Runtime
from shared.settings.settings import ConfigurationError
from shared.values import clock

CSV = """
    SELECT reconciliation_id, contract.code AS contract, contract.operator, night, reconciliation.state, requested_at,
           started_at, finished_at, error, compared, lines, moving, ours, theirs, differences, settled, resolved,
           waiting, withheld
    FROM reconciliation JOIN contract USING (contract_id)
    WHERE CAST(:contract_id AS uuid) IS NULL OR contract_id = :contract_id
    ORDER BY reconciliation_id
"""

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
    WHERE state IN ('requested', 'running') AND next_attempt_at <= clock_timestamp() AND attempts < :max
    ORDER BY reconciliation_id
""")
# A run that is what kills its workers is not taken up for ever.
_GIVE_UP = sa.text("""
    UPDATE reconciliation SET state = 'failed', error = 'its workers ended before it did', finished_at = now()
    WHERE state = 'running' AND attempts >= :max AND started_at < now() - interval '1 hour'
""")
_START = sa.text("""
    UPDATE reconciliation SET state = 'running', started_at = :now, attempts = attempts + 1
    WHERE reconciliation_id = :run AND state IN ('requested', 'running')
    RETURNING contract_id
""")
# A run that a person requested fails at once; a nightly one is tried again later.
_FAIL = sa.text("""
    UPDATE reconciliation SET error = :error, next_attempt_at = clock_timestamp() + make_interval(secs => :wait),
        state = CASE WHEN night IS NULL OR attempts >= :max THEN 'failed' ELSE 'requested' END,
        finished_at = CASE WHEN night IS NULL OR attempts >= :max THEN clock_timestamp() END
    WHERE reconciliation_id = :run
""")
_FINISH = sa.text("""
    UPDATE reconciliation SET state = 'done', finished_at = clock_timestamp(), error = NULL, compared = :compared,
        settled = :settled,
        waiting = (SELECT count(*) FROM discrepancy d
                   WHERE d.contract_id = reconciliation.contract_id AND d.state = 'waiting')
    WHERE reconciliation_id = :run
""")
_SAME = """
    discrepancy.operator = :operator AND discrepancy.kind = difference.kind
    AND discrepancy.reference = difference.reference
"""

_REOPEN = sa.text(f"""
    UPDATE discrepancy SET
        history = history || jsonb_build_array(jsonb_build_object(
            'found_at', found_at, 'resolved_at', resolved_at, 'resolved_by', resolved_by, 'resolver', resolver,
            'note', note, 'policy', policy, 'ours', discrepancy.ours, 'theirs', discrepancy.theirs)),
        state = 'waiting', policy = NULL, resolved_at = NULL, resolved_by = NULL, resolver = NULL, note = NULL,
        accepted = false, found_at = clock_timestamp()
    FROM difference
    WHERE {_SAME} AND state = 'resolved'
      AND NOT (accepted AND discrepancy.ours = difference.ours AND discrepancy.theirs = difference.theirs)
""")  # noqa: S608 (constants of this module)

# What a policy acted on and is still there, with nothing on its way any more, was not settled by it.
_GIVE_TO_A_PERSON = sa.text(f"""
    UPDATE discrepancy SET state = 'waiting' FROM difference
    WHERE {_SAME} AND state = 'settling' AND reconciliation_id <> :reconciliation
""")  # noqa: S608 (as above)

_KEEP = sa.text("""
    INSERT INTO discrepancy (operator, kind, reference, contract_id, cheque_id, ours, theirs, reconciliation_id)
    SELECT :operator, kind, reference, :contract, cheque_id, ours, theirs, :reconciliation FROM difference
    ON CONFLICT (operator, kind, reference) DO UPDATE SET
        reconciliation_id = excluded.reconciliation_id, ours = excluded.ours, theirs = excluded.theirs,
        contract_id = coalesce(discrepancy.contract_id, excluded.contract_id),
        cheque_id = coalesce(discrepancy.cheque_id, excluded.cheque_id)
""")

_RESOLVE = sa.text("""
    UPDATE discrepancy SET state = 'resolved', resolved_at = clock_timestamp(),
                           resolved_by = CASE WHEN policy IS NULL THEN 'agreement' ELSE 'policy' END
    WHERE contract_id = :contract AND state <> 'resolved' AND reconciliation_id <> :reconciliation
      AND NOT EXISTS (SELECT FROM moving WHERE moving.cheque_id = discrepancy.cheque_id)
""")


def request(session: Session, contract_id: UUID) -> Reconciliation:
    """A run of a contract, to be done now; raises NotFound where there is no such contract."""
    contracts.find(session, contract_id)
    inserted = sa.insert(Reconciliation).values(contract_id=contract_id).returning(Reconciliation)
    return session.scalars(inserted).one()


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
    session.execute(_GIVE_UP, {"max": _MAX_ATTEMPTS})
    return list(session.scalars(_DUE, {"max": _MAX_ATTEMPTS}))


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
        params = {"run": reconciliation_id, "error": str(error), "wait": _RETRY_SECONDS, "max": _MAX_ATTEMPTS}
        with runtime.transaction() as session:
            session.execute(_FAIL, params)
        logger().warning("reconciliation_failed", contract_id=str(contract_id), error=str(error))
        return
    with runtime.transaction() as session:
        params = {"run": reconciliation_id, "compared": both.comparable, "settled": settled}
        session.execute(_FINISH, params)
    logger().info("reconciled", contract=both.contract.code, settled=settled)


def _reconcile(runtime: Runtime, both: Sides, reconciliation_id: UUID) -> int:
    """Compares and records in one transaction, then settles in others; gives the number of differences acted on."""
    with comparing.compared(runtime.engine, both, comparing.statement(both)) as (connection, lines):
        figures = comparing.figures(connection)
        resolved = record(connection, both.contract, reconciliation_id)
        connection.commit()
    cheques = sum(status["number"] for status in figures["ours"].values())
    withheld = auto_resolution.doubtful(sum(figures["differences"].values()), cheques)
    noted = {**figures, "lines": lines, "resolved": resolved, "withheld": withheld}
    chosen = Reconciliation.reconciliation_id == reconciliation_id
    with runtime.transaction() as session:
        session.execute(sa.update(Reconciliation).where(chosen).values(noted))
    if withheld:
        logger().error("reconciliation_doubtful", contract=both.contract.code, differences=figures["differences"])
        return 0
    return auto_resolution.settle(runtime, both.contract, reconciliation_id)


def record(connection: sa.Connection, contract: Contract, reconciliation_id: UUID) -> int:
    """Records the `difference` of a connection in its transaction, and gives the number of earlier ones that are gone.

    Recording the same comparison again changes nothing.
    """
    params = {"operator": contract.operator, "contract": contract.contract_id, "reconciliation": reconciliation_id}
    connection.execute(_REOPEN, params)
    connection.execute(_GIVE_TO_A_PERSON, params)
    connection.execute(_KEEP, params)
    return connection.execute(_RESOLVE, params).rowcount
