-- The cheques not to be compared: something about them is on its way.
CREATE TEMPORARY TABLE moving AS
SELECT cheque_id FROM operator_order
WHERE contract_id = :contract AND cheque_id IS NOT NULL AND (settled_at IS NULL OR settled_at >= :taken_at)
UNION
SELECT report.cheque_id FROM report
WHERE report.contract_id = :contract AND report.contested IS NULL
  AND (report.received_at >= :taken_at OR NOT EXISTS (
        SELECT FROM redemption WHERE redemption.contract_id = report.contract_id
        AND redemption.reference = report.reference))
