"""The queries of the lists that are exported as CSV (`shared.exporting.export_in_parts`).

Columns are promised: new ones go to the end, none is renamed. Why a grant was made is not among them, as it is in the
prescriber's own words and may say something of the person.
"""

GRANTS = """
    SELECT given.id AS grant_id, given.prescriber_id, prescriber.name AS prescriber, programme.code AS programme,
           given.reference, given.target_public, given.granted_on, given.valid_until, given.presentable_until,
           given.amount_cents, given.previous_grants, sums.cheques, sums.redeemed_cents, sums.cancelled_cents,
           sums.expired_cents, sums.open_cents, given.rule_version,
           given.exception_reason IS NOT NULL AS exceptional
    FROM cheque_grant given
    JOIN programme ON programme.id = given.programme_id
    JOIN prescriber ON prescriber.id = given.prescriber_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS cheques,
               coalesce(sum(cheque.value_cents) FILTER (WHERE cheque.ending = 'redeemed'), 0) AS redeemed_cents,
               coalesce(sum(cheque.value_cents) FILTER (WHERE cheque.ending = 'cancelled'), 0) AS cancelled_cents,
               coalesce(sum(cheque.value_cents) FILTER (WHERE cheque.ending = 'expired'), 0) AS expired_cents,
               coalesce(sum(cheque.value_cents) FILTER (WHERE cheque.ending IS NULL), 0) AS open_cents
        FROM cheque WHERE cheque.grant_id = given.id
    ) sums
    WHERE given.id > :after
      AND (CAST(:prescriber_id AS uuid) IS NULL OR given.prescriber_id = :prescriber_id)
      AND (CAST(:programme AS text) IS NULL OR programme.code = :programme)
      AND (CAST(:since AS date) IS NULL OR given.granted_on >= :since)
      AND (CAST(:until AS date) IS NULL OR given.granted_on <= :until)
    ORDER BY given.id LIMIT :limit
"""
CHEQUES = """
    SELECT cheque.id AS cheque_id, cheque.grant_id, programme.code AS programme, cheque.envelope_id, envelope.funder,
           envelope.convention_reference, cheque.value_cents, cheque.state, given.target_public, given.granted_on,
           given.valid_until, given.presentable_until
    FROM cheque
    JOIN cheque_grant given ON given.id = cheque.grant_id
    JOIN programme ON programme.id = given.programme_id
    JOIN envelope ON envelope.id = cheque.envelope_id
    WHERE cheque.id > :after
      AND (CAST(:programme AS text) IS NULL OR programme.code = :programme)
      AND (CAST(:since AS date) IS NULL OR given.granted_on >= :since)
      AND (CAST(:until AS date) IS NULL OR given.granted_on <= :until)
    ORDER BY cheque.id LIMIT :limit
"""
ENVELOPES = """
    SELECT envelope.id AS envelope_id, programme.code AS programme, envelope.funder, envelope.convention_reference,
           envelope.starts_on, envelope.ends_on, array_to_string(envelope.target_publics, '|') AS target_publics,
           envelope.priority, envelope.amount_cents, envelope.engaged_cents,
           envelope.amount_cents - envelope.engaged_cents AS available_cents
    FROM envelope JOIN programme ON programme.id = envelope.programme_id
    WHERE envelope.id > :after ORDER BY envelope.id LIMIT :limit
"""
