"""Recording what a comparison found: new differences wait, vanished ones are resolved, all by set.

A difference is one row for good, found by its operator, kind and reference. If it comes again, it is opened again, with
its earlier end in its history; if a person accepted it, it stays closed as long as both sides' rows stay the same.
"""

from uuid import UUID

import sqlalchemy as sa

from services.operator_bridge.register.models import Contract

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


def keep(connection: sa.Connection, contract: Contract, reconciliation_id: UUID) -> int:
    """Records the `difference` of a connection in its transaction, and gives the number of earlier ones that are gone.

    Recording the same comparison again changes nothing.
    """
    params = {"operator": contract.operator, "contract": contract.contract_id, "reconciliation": reconciliation_id}
    connection.execute(_REOPEN, params)
    connection.execute(_GIVE_TO_A_PERSON, params)
    connection.execute(_KEEP, params)
    return connection.execute(_RESOLVE, params).rowcount
