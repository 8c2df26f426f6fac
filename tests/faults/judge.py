"""The clients' own record held against the tables of the three services."""

from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa

from tests.faults.load import Outcome, Record

_OUTCOMES: tuple[Outcome, ...] = ("done", "refused", "unanswered")

_GRANTS = """
    SELECT reference, cheque_grant.id::text AS grant_id, cheque_grant.amount_cents,
           count(cheque.id) AS cheques, sum(cheque.value_cents) AS cents
    FROM issuer.cheque_grant JOIN issuer.cheque ON cheque.grant_id = cheque_grant.id
    WHERE reference IS NOT NULL GROUP BY cheque_grant.id
"""
_ELSEWHERE = """
    SELECT grant_id::text, count(*)
    FROM redeemer.cheque JOIN operator_bridge.cheque other ON other.cheque_id = cheque.id GROUP BY grant_id
"""
_REDEMPTIONS = """
    SELECT key, redemption.id::text AS redemption_id, cheque_id::text, reversed_at IS NOT NULL AS reversed
    FROM redeemer.presentation JOIN redeemer.redemption ON presentation_id = presentation.id
"""
_TWICE = "SELECT cheque_id FROM redeemer.redemption WHERE reversed_at IS NULL GROUP BY cheque_id HAVING count(*) > 1"


def losses(record: Record, owner: sa.Engine) -> list[str]:
    """Everything in which the tables differ from what the clients were told; nothing, if all is well."""
    with owner.connect() as connection:
        return [
            *record.wrong,
            *_of_grants(record, connection),
            *_of_redemptions(record, connection),
            *(f"cheque {cheque} is redeemed twice" for cheque in connection.execute(sa.text(_TWICE)).scalars()),
        ]


def _of_grants(record: Record, connection: sa.Connection) -> Iterator[str]:
    found = {row.reference: row for row in connection.execute(sa.text(_GRANTS))}
    elsewhere = {row[0]: row[1] for row in connection.execute(sa.text(_ELSEWHERE))}
    for entry in record.of("grant"):
        row = found.get(entry.key)
        if entry.outcome == "refused" and row:
            yield f"grant {entry.key} was refused ({entry.answer.get('detail')}) and is there"
        if entry.outcome == "done" and (row is None or row.grant_id != entry.answer["grant_id"]):
            yield f"grant {entry.answer['grant_id']} was answered 201 and is not there"
        if row and (row.cents != row.amount_cents or elsewhere.get(row.grant_id) != row.cheques):
            yield f"grant {row.grant_id} has {row.cheques} cheques here and {elsewhere.get(row.grant_id)} elsewhere"


def _of_redemptions(record: Record, connection: sa.Connection) -> Iterator[str]:
    rows = connection.execute(sa.text(_REDEMPTIONS)).all()
    by_key = Counter(row.key for row in rows)
    by_id = {row.redemption_id: row for row in rows}
    taken_back = {outcome: {each.subject for each in record.of("reverse", outcome)} for outcome in _OUTCOMES}
    for entry in record.of("redeem"):
        number = by_key[entry.key]
        if entry.outcome == "done" and number != len(entry.codes):
            yield f"presentation {entry.key} was answered 201 for {len(entry.codes)} cheques and has {number}"
        if entry.outcome == "refused" and number:
            yield f"presentation {entry.key} was refused and has {number} redemptions"
        if entry.outcome == "unanswered" and number not in (0, len(entry.codes)):
            yield f"presentation {entry.key} of {len(entry.codes)} cheques is there by half: {number}"
        for made in entry.answer.get("redemptions", ()) if entry.outcome == "done" else ():
            row = by_id.get(made["redemption_id"])
            if row is None:
                yield f"redemption {made['redemption_id']} was answered 201 and is not there"
            elif row.reversed != (made["redemption_id"] in taken_back["done"]) and (
                made["redemption_id"] not in taken_back["unanswered"]
            ):
                now = "reversed" if row.reversed else "made"
                yield f"redemption {made['redemption_id']} is {now}, and was told otherwise"
