"""The queries of the lists that are exported as CSV (`shared.files.csv_export.export_in_parts`).

Columns are promised: new ones go to the end, none is renamed. Why a grant was made is not among them, as it is in the
prescriber's own words and may say something of the person.
"""

GRANTS = """
    SELECT cheque_grant.id AS grant_id, prescriber_id, prescriber.name AS prescriber, programme.code AS programme,
           reference, target_public, granted_on, cheque_grant.valid_until, presentable_until, amount_cents,
           previous_grants, cheques, redeemed_cents, cancelled_cents, expired_cents, open_cents, rule_version,
           exception_reason IS NOT NULL AS exceptional
    FROM cheque_grant
    JOIN programme ON programme.id = cheque_grant.programme_id
    JOIN prescriber ON prescriber.id = cheque_grant.prescriber_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS cheques,
               coalesce(sum(value_cents) FILTER (WHERE ending = 'redeemed'), 0) AS redeemed_cents,
               coalesce(sum(value_cents) FILTER (WHERE ending = 'cancelled'), 0) AS cancelled_cents,
               coalesce(sum(value_cents) FILTER (WHERE ending = 'expired'), 0) AS expired_cents,
               coalesce(sum(value_cents) FILTER (WHERE ending IS NULL), 0) AS open_cents
        FROM cheque WHERE grant_id = cheque_grant.id
    ) sums
    WHERE cheque_grant.id > :after
      AND (CAST(:prescriber_id AS uuid) IS NULL OR cheque_grant.prescriber_id = :prescriber_id)
      AND (CAST(:programme AS text) IS NULL OR programme.code = :programme)
      AND (CAST(:since AS date) IS NULL OR cheque_grant.granted_on >= :since)
      AND (CAST(:until AS date) IS NULL OR cheque_grant.granted_on <= :until)
    ORDER BY cheque_grant.id LIMIT :limit
"""
CHEQUES = """
    SELECT cheque.id AS cheque_id, grant_id, programme.code AS programme, envelope_id, funder, convention_reference,
           value_cents, state, target_public, granted_on, cheque_grant.valid_until, presentable_until
    FROM cheque
    JOIN cheque_grant ON cheque_grant.id = cheque.grant_id
    JOIN programme ON programme.id = cheque_grant.programme_id
    JOIN envelope ON envelope.id = cheque.envelope_id
    WHERE cheque.id > :after
      AND (CAST(:programme AS text) IS NULL OR programme.code = :programme)
      AND (CAST(:since AS date) IS NULL OR cheque_grant.granted_on >= :since)
      AND (CAST(:until AS date) IS NULL OR cheque_grant.granted_on <= :until)
    ORDER BY cheque.id LIMIT :limit
"""
ENVELOPES = """
    SELECT envelope.id AS envelope_id, programme.code AS programme, funder, convention_reference, starts_on, ends_on,
           array_to_string(target_publics, '|') AS target_publics, priority, amount_cents, engaged_cents,
           amount_cents - engaged_cents AS available_cents
    FROM envelope JOIN programme ON programme.id = envelope.programme_id
    WHERE envelope.id > :after ORDER BY envelope.id LIMIT :limit
"""
