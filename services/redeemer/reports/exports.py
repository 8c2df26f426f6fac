"""The queries of the lists that are exported as CSV (`shared.files.csv_export.export_in_parts`).

Columns are promised: new ones go to the end, none is renamed.
"""

REDEMPTIONS = """
    SELECT redemption.id AS redemption_id, redemption.structure_id, structure.name AS structure, structure.siret,
           redemption.programme, redemption.cheque_id, redemption.presentation_id, redemption.amount_cents,
           redemption.via, contract.code AS contract, redemption.given_on, redemption.redeemed_at, redemption.state,
           redemption.refusal_reason, redemption.payment_reference, redemption.paid_on, redemption.statement_id,
           redemption.reversed_at, redemption.reversal_reason
    FROM redemption
    LEFT JOIN structure ON structure.id = redemption.structure_id
    LEFT JOIN contract ON contract.id = redemption.contract_id
    WHERE redemption.id > :after
      AND (CAST(:structure_id AS uuid) IS NULL OR redemption.structure_id = :structure_id)
      AND (CAST(:programme AS text) IS NULL OR redemption.programme = :programme)
      AND (CAST(:since AS date) IS NULL OR (redemption.redeemed_at AT TIME ZONE 'Europe/Paris')::date >= :since)
      AND (CAST(:until AS date) IS NULL OR (redemption.redeemed_at AT TIME ZONE 'Europe/Paris')::date <= :until)
    ORDER BY redemption.id LIMIT :limit
"""
STRUCTURES = """
    SELECT structure.id AS structure_id, structure.source_id, structure.siret, structure.name, structure.address,
           structure.postcode, structure.commune, structure.insee_code, structure.latitude, structure.longitude,
           array_to_string(structure.services, '|') AS services, array_to_string(structure.publics, '|') AS publics,
           array_to_string(structure.labels, '|') AS labels, structure.updated_on, structure.suspended_at,
           structure.suspension_reason
    FROM structure WHERE structure.id > :after ORDER BY structure.id LIMIT :limit
"""
AFFILIATIONS = """
    SELECT affiliation.id AS affiliation_id, affiliation.structure_id, structure.name AS structure, structure.siret,
           contract.code AS contract, contract.operator, contract.programme, affiliation.starts_on, affiliation.ends_on
    FROM affiliation
    JOIN structure ON structure.id = affiliation.structure_id
    LEFT JOIN contract ON contract.id = affiliation.contract_id
    WHERE affiliation.id > :after ORDER BY affiliation.id LIMIT :limit
"""
