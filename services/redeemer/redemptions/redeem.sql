-- Spends cheques, for one presentation or for several independent ones at once. To run it by hand in psql:
--   \set questions '''[{"number": 1, "structure_id": "…", "given_on": "2026-11-30", "presentation_id": "…", …}]'''
--   \set codes '''[{"number": 1, "index": 0, "digests": ["\\\\x…"], "redemption_id": "…", "event_id": "…"}]'''
--   \set now 'now()'  \set today current_date  \set version 1
--
-- It is its own transaction and one round trip. It works at READ COMMITTED, where its snapshot may be older than a
-- rival's commit, so everything that decides is read from rows that it has locked, in their latest version:
--
-- * of two requests with one key at the same time, the second does not get the key's lock (`has_key`) and has to wait;
-- * `cheques` locks the cheques, in the order of their ids, and returns them as they are once locked, so of any number
--   of rivals one finds them spendable, and sets of cheques that overlap wait for one another but never in a circle;
-- * `spent` has no further condition: one would be compared with the snapshot, in which a cheque that was reversed a
--   moment ago is not spendable yet;
-- * a request whose twin committed after the snapshot finds its cheques spent, or its presentation there already
--   (`ON CONFLICT`), does nothing, and a second statement finds the answer to its twin.
--
-- Presentations of one batch are decided each by itself. No two of them have a cheque or a key in common, and
-- together they never wait for a lock (`NOWAIT`, which a presentation that runs alone leaves out).

WITH input AS (
    -- Through an array: the planner takes those to be short, and what a function returns to be long.
    SELECT question.*
    FROM unnest(ARRAY(SELECT json_array_elements(CAST(:questions AS json)))) AS element,
         json_to_record(element) AS question (
             number int, structure_id uuid, address text, given_on date, service text, postcode text,
             presentation_id uuid, key text, request_digest bytea,
             role text, scope uuid, subject text, sender text, request_id text, action text
         )
),
code AS (
    SELECT code.*
    FROM unnest(ARRAY(SELECT json_array_elements(CAST(:codes AS json)))) AS element,
         json_to_record(element) AS code (number int, index int, digests bytea[], redemption_id uuid, event_id uuid)
),
questions AS MATERIALIZED (
    SELECT *,
           -- Until when whoever presents is locked out for trying codes in vain (`lockout.py`).
           (
               SELECT max(tally.locked_until)
               FROM guessing own
               JOIN guessing tally ON tally.who IN (own.who, 'address ' || input.address, 'everybody')
               WHERE own.who = 'structure ' || input.structure_id AND tally.locked_until > :now
                 AND (tally.who = own.who OR own.clear_at > :now)
           ) AS locked_out_until,
           -- The rules of the cheques that the structure may take on that day. Cheques of other rules are not looked
           -- for: they are answered like codes that do not exist, in the same words, after the same work, unlocked.
           ARRAY(
               SELECT spending_rules.id
               FROM spending_rules JOIN contract USING (programme) JOIN affiliation ON contract_id = contract.id
               JOIN structure ON structure.id = structure_id AND suspended_at IS NULL
               WHERE structure_id = input.structure_id AND affiliation.starts_on <= input.given_on
                 AND coalesce(affiliation.ends_on, 'infinity') >= input.given_on
           ) AS rules,
           pg_try_advisory_xact_lock(hashtextextended(structure_id::text || ' ' || key, 0)) AS has_key
    FROM input
),
cheques AS MATERIALIZED (
    SELECT code.number, code.index, cheque.*
    FROM questions JOIN code USING (number) JOIN cheque ON digest = ANY(digests)
    WHERE has_key IS NOT false AND locked_out_until IS NULL AND rules_id = ANY(rules)
    ORDER BY cheque.id FOR UPDATE OF cheque NOWAIT
),
judged AS MATERIALIZED (
    SELECT line.*, cheques.id AS cheque_id, cheques.value_cents, cheques.valid_until, cheques.redeemed_at,
           rules.programme,
           CASE
               WHEN structure.suspended_at IS NOT NULL THEN 'suspended'
               WHEN NOT EXISTS (
                   SELECT FROM affiliation
                   WHERE structure_id = line.structure_id AND affiliation.starts_on <= line.given_on
                     AND coalesce(affiliation.ends_on, 'infinity') >= line.given_on
               ) THEN 'structure-not-affiliated'
               WHEN cheques.id IS NULL THEN 'unknown-code'
               WHEN cheques.state = 'redeemed' THEN 'already-redeemed'
               WHEN cheques.state IN ('cancelled', 'blocked', 'expired') THEN cheques.state
               WHEN cheques.presentable_until < CAST(:today AS date) THEN 'expired'
               WHEN cheques.valid_until < line.given_on THEN 'given-too-late'
               WHEN cheques.state = 'pending' THEN 'not-yet-spendable'
               WHEN cheques.granted_on > line.given_on THEN 'given-too-early'
               WHEN rules.services <> '{}' AND line.service IS NULL THEN 'service-not-said'
               WHEN rules.services <> '{}' AND NOT EXISTS (
                   SELECT FROM unnest(rules.services) service WHERE lower(service) = lower(line.service)
               ) THEN 'service-not-covered'
               WHEN rules.territory <> '{}' AND NOT EXISTS (
                   SELECT FROM unnest(rules.territory) beginning
                   WHERE starts_with(coalesce(line.postcode, structure.postcode), beginning)
                      OR (line.postcode IS NULL AND starts_with(structure.insee_code, beginning))
               ) THEN 'out-of-territory'
           END AS verdict
    FROM (questions JOIN code USING (number)) AS line LEFT JOIN cheques USING (number, index)
    LEFT JOIN spending_rules rules ON rules.id = cheques.rules_id
    LEFT JOIN structure ON structure.id = line.structure_id
)
-- Up to here a check is the same; from here on cheques are spent.
, presented AS (
    INSERT INTO presentation (id, structure_id, key, request_digest, service, postcode, presented_at)
    SELECT presentation_id, structure_id, key, request_digest, service, postcode, :now
    FROM questions
    WHERE NOT EXISTS (SELECT FROM judged WHERE judged.number = questions.number AND verdict IS NOT NULL)
    ON CONFLICT DO NOTHING RETURNING id
),
taken AS (
    SELECT judged.* FROM presented JOIN judged ON presentation_id = presented.id
),
spent AS (
    UPDATE cheque SET ending = 'redeemed', redeemed_at = :now
    FROM taken WHERE cheque.id = taken.cheque_id
),
redeemed AS (
    INSERT INTO redemption (id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, given_on,
                            redeemed_at, state)
    SELECT redemption_id, cheque_id, presentation_id, structure_id, programme, value_cents, 'till', given_on, :now,
           'due'
    FROM taken
),
published AS (
    INSERT INTO event (event_id, kind, version, key, occurred_at, request_id, body)
    SELECT (array_agg(event_id))[1], 'cheques.redeemed', :version, presentation_id::text, :now, request_id,
           jsonb_build_object(
               'presentation_id', presentation_id,
               'structure_id', structure_id,
               'programme', programme,
               'via', 'till',
               'contract_id', NULL,
               'redeemed_at', CAST(:now AS timestamptz),
               'given_on', given_on,
               'redemptions', jsonb_agg(jsonb_build_object(
                   'redemption_id', redemption_id, 'cheque_id', cheque_id, 'amount_cents', value_cents
               ) ORDER BY index)
           )
    FROM taken GROUP BY presentation_id, structure_id, given_on, request_id, programme
),
-- Who presented what, from where: recorded here, as no trigger may make a till wait.
audited AS (
    INSERT INTO audit_entry (occurred_at, role, scope, subject, address, request_id, action, object_kind, object_id,
                             after)
    SELECT :now, role, scope, subject, sender, request_id, action, 'presentation', presentation_id::text,
           jsonb_build_object('redemptions', count(*), 'amount_cents', sum(value_cents))
    FROM taken GROUP BY presentation_id, role, scope, subject, sender, request_id, action
)
SELECT number, has_key, locked_out_until, presented.id IS NOT NULL AS done, cheque_id, value_cents, verdict, redeemed_at
FROM judged LEFT JOIN presented ON presented.id = presentation_id
ORDER BY number, index
