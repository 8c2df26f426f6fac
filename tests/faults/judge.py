"""The clients' own record held against the tables of the three services."""

from collections import Counter, defaultdict
from collections.abc import Iterator

import sqlalchemy as sa

from tests.faults.record import Entry, Outcome, Record

_OUTCOMES: tuple[Outcome, ...] = ("done", "refused", "unanswered")

_GRANTS = """
    SELECT reason, cheque_grant.id::text AS grant_id, cheque_grant.amount_cents, sum(value_cents) AS cents,
           array_agg(cheque.id::text) AS cheques
    FROM issuer.cheque_grant JOIN issuer.cheque ON cheque.grant_id = cheque_grant.id
    WHERE NOT EXISTS (
        SELECT FROM issuer.replaced_cheque WHERE new_cheque_id = cheque.id
    ) GROUP BY cheque_grant.id
"""
_CHEQUES = {
    "issuer": "SELECT id::text AS cheque_id, state FROM issuer.cheque",
    "redeemer": "SELECT id::text AS cheque_id, state FROM redeemer.cheque",
    "operator_bridge": """
        SELECT cheque_id::text, CASE WHEN blocked AND state = 'open' THEN 'blocked' WHEN state = 'open'
            THEN 'spendable' ELSE state END AS state FROM operator_bridge.cheque""",
}
_REDEMPTIONS = """
    SELECT key, redemption.id::text AS redemption_id, cheque_id::text, reversed_at IS NOT NULL AS reversed,
           (SELECT state = 'reversed' FROM operator_bridge.redemption other
            WHERE other.redemption_id = redemption.id) AS reversed_at_bridge
    FROM redeemer.redemption LEFT JOIN redeemer.presentation ON presentation_id = presentation.id
"""
_TWICE = """
    SELECT cheque_id FROM {service}.redemption WHERE {standing} GROUP BY cheque_id HAVING count(*) > 1
"""
_STANDING = {"redeemer": "reversed_at IS NULL", "operator_bridge": "state <> 'reversed'"}
_REPLACED = """
    SELECT old_cheque_id::text, CASE WHEN issued_at IS NOT NULL THEN new_cheque_id::text END AS new_cheque_id
    FROM issuer.replaced_cheque
"""


def losses(record: Record, owner: sa.Engine) -> list[str]:
    """Everything in which the tables differ from what the clients were told; nothing, if all is well."""
    with owner.connect() as connection:
        states = {
            service: {row.cheque_id: row.state for row in connection.execute(sa.text(query))}
            for service, query in _CHEQUES.items()
        }
        return [
            *record.wrong,
            *_of_grants(record, connection, states),
            *_of_cheques(record, states),
            *_of_redemptions(record, connection),
            *_of_replacements(record, connection, states),
            *_redeemed_twice(connection),
        ]


_States = dict[str, dict[str, str]]


def _of_grants(record: Record, connection: sa.Connection, states: _States) -> Iterator[str]:
    found = defaultdict(list)
    for row in connection.execute(sa.text(_GRANTS)):
        found[row.reason].append(row)
    for entry in record.of("grant"):
        rows = found[entry.subject]
        if len(rows) > 1:
            yield f"grant {entry.subject} is there {len(rows)} times"
        if entry.outcome == "refused" and rows:
            yield f"grant {entry.subject} was refused ({entry.answer.get('detail')}) and is there"
        if entry.outcome == "done":
            yield from _answered_grant(entry, rows)
        for row in rows:
            if row.cents != row.amount_cents:
                yield f"grant {row.grant_id} of {row.amount_cents} cents has cheques of {row.cents}"
            for service, known in states.items():
                if missing := [cheque for cheque in row.cheques if cheque not in known]:
                    yield f"{service} does not know {len(missing)} cheques of grant {row.grant_id}"


def _answered_grant(entry: Entry, rows: list[sa.Row[tuple[str, ...]]]) -> Iterator[str]:
    if not rows or rows[0].grant_id != entry.answer["grant_id"]:
        yield f"grant {entry.answer['grant_id']} was answered 201 and is not there"
    elif set(rows[0].cheques) != {cheque["cheque_id"] for cheque in entry.answer["cheques"]}:
        yield f"grant {entry.answer['grant_id']} has other cheques than it was answered with"


def _of_cheques(record: Record, states: _States) -> Iterator[str]:
    for cheque, possible in record.cheques.items():
        said = {service: known.get(cheque, "missing") for service, known in states.items()}
        if len(set(said.values())) > 1 or not set(said.values()) <= possible:
            yield f"cheque {cheque} should be {' or '.join(sorted(possible))} and is {said}"


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
            elif row.reversed_at_bridge is not row.reversed:
                yield f"redemption {made['redemption_id']} stands otherwise at the bridge, or not at all"


def _of_replacements(record: Record, connection: sa.Connection, states: _States) -> Iterator[str]:
    """A cheque that was reported lost has one new one, which can be spent."""
    found = defaultdict(list)
    for row in connection.execute(sa.text(_REPLACED)):
        found[row.old_cheque_id].append(row.new_cheque_id)
    for entry in record.of("replace"):
        rows = found[entry.subject]
        if len(rows) > 1 or (entry.outcome == "done") > len(rows) or (entry.outcome == "refused" and rows):
            yield f"replacement of {entry.subject} was {entry.outcome}, and is there {len(rows)} times"
        for new in rows:
            said = {known.get(new, "missing") for known in states.values()}
            if said != {"spendable"}:
                yield f"cheque {entry.subject} is replaced by {new}, which is {said}"


def _redeemed_twice(connection: sa.Connection) -> Iterator[str]:
    for service, standing in _STANDING.items():
        query = _TWICE.format(service=service, standing=standing)
        for cheque in connection.execute(sa.text(query)).scalars():
            yield f"cheque {cheque} is redeemed twice at {service}"
