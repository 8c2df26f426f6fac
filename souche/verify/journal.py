"""What `souche verify` holds against the journal: cheques, charges, and the movements of envelopes.

The journal is never rewritten, so a report as of a past day is as right as the journal; that it says of today what the
cheques say is what shows that every change was booked, and booked once.
"""

from collections.abc import Iterator

import sqlalchemy as sa

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

_SAID = {
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


def faults(issuer: sa.Engine) -> Iterator[str]:
    """What does not fit in the issuer's books, in words."""
    for query, said in _SAID.items():
        with issuer.connect() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            for row in connection.execute(sa.text(query)).mappings():
                yield said.format(**row)
