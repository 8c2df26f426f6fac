-- Great-circle distance in km. Where coordinates are missing, the same postcode counts as near and the same département
-- as far; what is in neither is left out. Départements are the first two characters of a postcode, three overseas.
-- Whoever says that it offers what a programme pays for comes first: files name services each in their way, so one that
-- does not say so may still do.

SELECT input.prescriber_id, input.programme_id, nearest.*
FROM unnest(CAST(:prescriber_ids AS uuid[]), CAST(:programme_ids AS uuid[])) AS input (prescriber_id, programme_id)
JOIN prescriber ON prescriber.id = input.prescriber_id
JOIN programme ON programme.id = input.programme_id
CROSS JOIN LATERAL (
    SELECT structure.name, structure.address, structure.postcode, structure.commune, structure.phone, distance.km
    FROM training_structure AS structure
    CROSS JOIN LATERAL (
        SELECT CASE WHEN structure.latitude + structure.longitude + prescriber.latitude + prescriber.longitude
                         IS NOT NULL THEN
            12742 * asin(sqrt(least(1,
                power(sin(radians(structure.latitude - prescriber.latitude) / 2), 2)
                + cos(radians(prescriber.latitude)) * cos(radians(structure.latitude))
                * power(sin(radians(structure.longitude - prescriber.longitude) / 2), 2)))) END AS km,
            substr(structure.postcode, 1, CASE WHEN structure.postcode LIKE '97%' THEN 3 ELSE 2 END)
            = substr(prescriber.postcode, 1, CASE WHEN prescriber.postcode LIKE '97%' THEN 3 ELSE 2 END)
                AS same_department
    ) AS distance
    WHERE NOT structure.suspended
          AND (distance.km IS NOT NULL OR distance.same_department)
          AND EXISTS (
              SELECT FROM structure_affiliation AS affiliation
              JOIN operator_contract AS contract ON contract.id = affiliation.contract_id
              WHERE affiliation.structure_id = structure.id AND contract.programme = programme.code
                    AND affiliation.starts_on <= :today AND coalesce(affiliation.ends_on, 'infinity') >= :today
          )
          AND (programme.territory = '{}' OR EXISTS (
              SELECT FROM unnest(programme.territory) AS beginning
              WHERE starts_with(structure.postcode, beginning) OR starts_with(structure.insee_code, beginning)
          ))
    ORDER BY EXISTS (
            SELECT FROM unnest(programme.services) AS wanted, unnest(structure.services) AS offered
            WHERE lower(wanted) = lower(offered)
        ) DESC,
        coalesce(distance.km, CASE WHEN structure.postcode = prescriber.postcode THEN 3 ELSE 40 END),
        structure.name, structure.id
    LIMIT :nearest
) AS nearest
