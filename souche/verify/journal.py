"""The issuer's books: grants, envelopes, charges, conventions and the journal, compared with the cheques.

The journal is never rewritten, so a report as of a past day is as right as the journal; that it says of today what the
cheques say is what shows that every change was booked, and booked once.
"""

from collections.abc import Generator

import sqlalchemy as sa

from souche.verify.reading import stream

_REPLACED = """
    SELECT old_cheque_id, new_cheque_id FROM replaced_cheque
    LEFT JOIN cheque old ON old.id = old_cheque_id LEFT JOIN cheque new ON new.id = new_cheque_id
    WHERE (issued_at IS NULL AND new.id IS NOT NULL) OR (
        issued_at IS NOT NULL AND (old.ending, old.grant_id, old.envelope_id, old.value_cents)
                                  IS DISTINCT FROM ('cancelled', new.grant_id, new.envelope_id, new.value_cents)
    ) ORDER BY old_cheque_id
"""
_GRANTS = """
    SELECT cheque_grant.id AS grant_id, cheque_grant.amount_cents, coalesce(sum(cheque.value_cents), 0) AS cheques_cents
    FROM cheque_grant LEFT JOIN cheque ON cheque.grant_id = cheque_grant.id AND NOT EXISTS (
        SELECT FROM replaced_cheque WHERE old_cheque_id = cheque.id AND issued_at IS NOT NULL
    )
    GROUP BY cheque_grant.id HAVING cheque_grant.amount_cents <> coalesce(sum(cheque.value_cents), 0)
    ORDER BY cheque_grant.id
"""
_ENVELOPES = """
    SELECT envelope.convention_reference AS envelope, envelope.amount_cents, envelope.engaged_cents,
           coalesce(sum(cheque.value_cents) FILTER (WHERE cheque.state NOT IN ('cancelled', 'expired')), 0)
               AS charged_cents
    FROM envelope LEFT JOIN cheque ON cheque.envelope_id = envelope.id
    GROUP BY envelope.id
    HAVING envelope.amount_cents < envelope.engaged_cents OR envelope.engaged_cents <> coalesce(
        sum(cheque.value_cents) FILTER (WHERE cheque.state NOT IN ('cancelled', 'expired')), 0
    )
    ORDER BY envelope.id
"""
_JOURNAL = """
    WITH booked AS (
        SELECT envelope_id, CASE kind WHEN 'unused' THEN 'used' WHEN 'unpaid' THEN 'paid' ELSE kind END AS kind,
               sum(CASE WHEN kind IN ('unused', 'unpaid') THEN -number ELSE number END) AS number,
               sum(CASE WHEN kind IN ('unused', 'unpaid') THEN -cents ELSE cents END) AS cents
        FROM journal_entry GROUP BY 1, 2
    ), counted AS (
        SELECT envelope_id, 'engaged' AS kind, count(*) AS number, sum(value_cents) AS cents FROM cheque GROUP BY 1
        UNION ALL
        SELECT envelope_id, CASE ending WHEN 'redeemed' THEN 'used' ELSE ending END, count(*), sum(value_cents)
        FROM cheque WHERE ending IS NOT NULL GROUP BY 1, 2
        UNION ALL
        SELECT envelope_id, 'paid', count(*), sum(value_cents)
        FROM redemption JOIN cheque ON cheque.id = redemption.cheque_id WHERE paid_on IS NOT NULL GROUP BY 1
    )
    SELECT convention_reference AS envelope, kind, coalesce(booked.number, 0) AS number,
           coalesce(booked.cents, 0) AS cents, coalesce(counted.number, 0) AS counted_number,
           coalesce(counted.cents, 0) AS counted_cents
    FROM booked FULL JOIN counted USING (envelope_id, kind) JOIN envelope ON envelope.id = envelope_id
    WHERE (coalesce(booked.number, 0), coalesce(booked.cents, 0))
       <> (coalesce(counted.number, 0), coalesce(counted.cents, 0))
    ORDER BY envelope_id, kind
"""
# A cheque made in the place of another is not charged again.
_CHARGES = """
    WITH counted AS (
        SELECT grant_id, envelope_id, count(*) AS number, sum(value_cents) AS cents FROM cheque
        WHERE NOT EXISTS (SELECT FROM replaced_cheque WHERE old_cheque_id = cheque.id AND issued_at IS NOT NULL)
        GROUP BY 1, 2
    )
    SELECT grant_id, coalesce(charge.number, 0) AS number, coalesce(charge.cents, 0) AS cents,
           coalesce(counted.number, 0) AS counted_number, coalesce(counted.cents, 0) AS counted_cents
    FROM charge FULL JOIN counted USING (grant_id, envelope_id)
    WHERE (charge.number, charge.cents) IS DISTINCT FROM (counted.number, counted.cents) ORDER BY grant_id
"""
_RESERVED = """
    SELECT envelope.convention_reference AS envelope, envelope.engaged_reserved_cents,
           coalesce(sum(cheque.value_cents), 0) AS charged_cents
    FROM envelope LEFT JOIN charge ON charge.envelope_id = envelope.id AND charge.reserved
    LEFT JOIN cheque ON cheque.envelope_id = envelope.id AND cheque.grant_id = charge.grant_id
        AND cheque.state NOT IN ('cancelled', 'expired')
    GROUP BY envelope.id HAVING envelope.engaged_reserved_cents <> coalesce(sum(cheque.value_cents), 0)
    ORDER BY envelope.id
"""
_MOVEMENTS = """
    SELECT envelope.convention_reference AS envelope, envelope.amount_cents,
           coalesce(sum(movement.after_cents - movement.before_cents), 0) AS moved_cents
    FROM envelope LEFT JOIN envelope_movement movement ON movement.envelope_id = envelope.id
    GROUP BY envelope.id
    HAVING envelope.amount_cents <> coalesce(sum(movement.after_cents - movement.before_cents), 0)
    ORDER BY envelope.id
"""
_CONVENTIONS = """
    SELECT convention.reference, convention.amount_cents, sum(envelope.amount_cents) AS held_cents
    FROM convention JOIN envelope ON envelope.convention_id = convention.id
    GROUP BY convention.id HAVING sum(envelope.amount_cents) > convention.amount_cents ORDER BY convention.id
"""
_AMENDMENTS = """
    SELECT convention.reference, convention.amount_cents, agreed.amount_cents AS agreed_cents
    FROM convention LEFT JOIN LATERAL (
        SELECT amount_cents, ends_on FROM convention_amendment
        WHERE convention_id = convention.id ORDER BY sequence DESC LIMIT 1
    ) agreed ON true
    WHERE (convention.amount_cents, convention.ends_on) IS DISTINCT FROM (agreed.amount_cents, agreed.ends_on)
    ORDER BY convention.id
"""

_FAULTS = {
    _REPLACED: "cheque {old_cheque_id} and {new_cheque_id}, which replaces it, are not of one grant, envelope and"
    " value, the old one cancelled",
    _GRANTS: "grant {grant_id} is of {amount_cents} cents and its cheques of {cheques_cents}",
    _ENVELOPES: "envelope {envelope}: {engaged_cents} cents engaged, {charged_cents} charged, {amount_cents} in all",
    _JOURNAL: "envelope {envelope}: {number} cheques of {cents} cents are booked as {kind},"
    " {counted_number} of {counted_cents} are",
    _CHARGES: "grant {grant_id}: {number} cheques of {cents} cents are charged, {counted_number} of {counted_cents} are"
    " there",
    _RESERVED: "envelope {envelope}: {engaged_reserved_cents} cents engaged for reserved publics, {charged_cents}"
    " charged",
    _MOVEMENTS: "envelope {envelope}: {amount_cents} cents in all, {moved_cents} by its movements",
    _AMENDMENTS: "convention {reference}: {amount_cents} cents, {agreed_cents} by its amendments, or another end",
    _CONVENTIONS: "convention {reference}: {amount_cents} cents granted, {held_cents} in its envelopes",
}


def faults(issuer: sa.Engine) -> Generator[str, None, None]:
    """A sentence for each row of the issuer's books that does not fit."""
    for query, sentence in _FAULTS.items():
        with stream(issuer, query) as rows:
            for row in rows:
                yield sentence.format(**row._mapping)
