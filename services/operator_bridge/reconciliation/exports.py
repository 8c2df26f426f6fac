"""The queries of the lists that are exported as CSV (`shared.files.csv_export`)."""

DISCREPANCIES = """
    SELECT discrepancy_id, found_at, contract.code AS contract, discrepancy.operator, kind, reference, cheque_id,
           discrepancy.state, ours, theirs, policy, resolved_at, resolved_by, resolver, note
    FROM discrepancy LEFT JOIN contract USING (contract_id)
    WHERE (CAST(:contract_id AS uuid) IS NULL OR contract_id = :contract_id)
      AND (CAST(:state AS text) IS NULL OR discrepancy.state = :state)
      AND (CAST(:kind AS text) IS NULL OR kind = :kind)
    ORDER BY discrepancy_id
"""
RECONCILIATIONS = """
    SELECT reconciliation_id, contract.code AS contract, contract.operator, night, reconciliation.state, requested_at,
           started_at, finished_at, error, compared, lines, moving, ours, theirs, differences, settled, resolved,
           waiting, withheld
    FROM reconciliation JOIN contract USING (contract_id)
    WHERE CAST(:contract_id AS uuid) IS NULL OR contract_id = :contract_id
    ORDER BY reconciliation_id
"""
# One line per day, programme, party and state: what a spreadsheet can add up.
DAILY_BALANCES = """
    SELECT day, programme, party.name AS party, party.contract, entry.key AS state,
           (entry.value ->> 'number')::bigint AS number, (entry.value ->> 'cents')::bigint AS cents, agrees, kept_at
    FROM daily_balance CROSS JOIN LATERAL (
        SELECT 'register' AS name, NULL AS contract, register AS sums
        UNION ALL SELECT 'redeemer', NULL, redeemer WHERE redeemer IS NOT NULL
        UNION ALL SELECT held ->> 'operator', held ->> 'contract', held -> 'theirs'
                  FROM jsonb_array_elements(operators) held
    ) party CROSS JOIN LATERAL jsonb_each(party.sums) entry
    WHERE (CAST(:since AS date) IS NULL OR day >= :since) AND (CAST(:until AS date) IS NULL OR day <= :until)
      AND (CAST(:programme AS text) IS NULL OR programme = :programme)
    ORDER BY day, programme, party.name, party.contract, entry.key
"""
