"""`souche verify`: recomputes every balance from the rows of all three services, cheque by cheque.

For every programme, envelope and contract: issued = pending + spendable + redeemed + cancelled + expired + blocked, in
number and in cents. The three services are read as three streams in the order of the cheques' ids and compared side by
side, so memory stays flat and they may live in three databases.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from shared.database import engine as db
from shared.eventlog.event_kinds import READERS
from shared.settings.settings import SERVICES, ConfigurationError, with_files
from souche.verify import journal, statements
from souche.verify.rows import Fault, check_cheque, check_redemption

_POLL_SECONDS = 0.25
_TRIES = 5
_STREAM = {"yield_per": 2_000}

ISSUED = """
    SELECT cheque.id AS cheque_id, programme.code AS programme, envelope.convention_reference AS envelope,
           cheque.value_cents, CASE cheque.state WHEN 'issued' THEN 'pending' ELSE cheque.state END AS state
    FROM cheque JOIN envelope ON envelope.id = cheque.envelope_id JOIN programme ON programme.id = envelope.programme_id
    ORDER BY cheque.id
"""
SPENT = """
    SELECT cheque.id AS cheque_id, rules.programme, cheque.value_cents, cheque.state, grant_id, granted_on,
           count(redemption.id) AS redemptions, coalesce(sum(redemption.amount_cents), 0) AS redeemed_cents
    FROM cheque JOIN spending_rules rules ON rules.id = cheque.rules_id
    LEFT JOIN redemption ON redemption.cheque_id = cheque.id AND redemption.reversed_at IS NULL
    GROUP BY cheque.id, rules.programme ORDER BY cheque.id
"""
LINKED = """
    SELECT cheque.cheque_id, cheque.programme, cheque.value_cents,
           cheque.programme IN (SELECT programme FROM contract WHERE state = 'live') AS has_operator,
           CASE WHEN cheque.state = 'open' AND cheque.blocked THEN 'blocked' ELSE cheque.state END AS state,
           array_agg(contract.code ORDER BY contract.code) FILTER (WHERE contract.code IS NOT NULL) AS contracts,
           (SELECT count(*) FROM redemption
            WHERE redemption.cheque_id = cheque.cheque_id AND redemption.state <> 'reversed') AS redemptions
    FROM cheque LEFT JOIN link USING (cheque_id) LEFT JOIN contract USING (contract_id)
    GROUP BY cheque.cheque_id ORDER BY cheque.cheque_id
"""
OWED = """
    SELECT id AS redemption_id, cheque_id, amount_cents, structure_id,
           CASE WHEN reversed_at IS NULL THEN state ELSE 'reversed' END AS state
    FROM redemption ORDER BY id
"""
DECLARED = """
    SELECT redemption_id, cheque_id, amount_cents, structure_id, redemption.state,
           redemption.state = 'due' AND redemption.contract_id IS NULL AND programme IN (
               SELECT programme FROM contract WHERE state = 'live') AS nobody_pays,
           redemption.state = 'refused' AND EXISTS (
               SELECT FROM operator_order o WHERE o.reason = 'cheque-not-registered'
               AND o.order_id = CASE via WHEN 'till' THEN CAST(reference AS uuid) END) AS never_declared
    FROM redemption JOIN cheque USING (cheque_id) ORDER BY redemption_id
"""
ENVELOPES = """
    SELECT envelope.convention_reference AS envelope, envelope.amount_cents, envelope.engaged_cents,
           coalesce(sum(cheque.value_cents) FILTER (WHERE cheque.state NOT IN ('cancelled', 'expired')), 0)
               AS charged_cents
    FROM envelope LEFT JOIN cheque ON cheque.envelope_id = envelope.id
    GROUP BY envelope.id ORDER BY envelope.id
"""
GRANTS = """
    SELECT cheque_grant.id AS grant_id, cheque_grant.amount_cents, coalesce(sum(cheque.value_cents), 0) AS cheques_cents
    FROM cheque_grant LEFT JOIN cheque ON cheque.grant_id = cheque_grant.id AND NOT EXISTS (
        SELECT FROM replaced_cheque WHERE old_cheque_id = cheque.id AND issued_at IS NOT NULL
    )
    GROUP BY cheque_grant.id HAVING cheque_grant.amount_cents <> coalesce(sum(cheque.value_cents), 0)
    ORDER BY cheque_grant.id
"""
REPLACED = """
    SELECT old_cheque_id, new_cheque_id FROM replaced_cheque
    LEFT JOIN cheque old ON old.id = old_cheque_id LEFT JOIN cheque new ON new.id = new_cheque_id
    WHERE (issued_at IS NULL AND new.id IS NOT NULL) OR (
        issued_at IS NOT NULL AND (old.ending, old.grant_id, old.envelope_id, old.value_cents)
                                  IS DISTINCT FROM ('cancelled', new.grant_id, new.envelope_id, new.value_cents)
    ) ORDER BY old_cheque_id
"""
CONTRACTS = "SELECT contract_id, code, state FROM contract ORDER BY contract_id"
HEARD = "SELECT id AS contract_id, code, state FROM contract ORDER BY id"
HEAD = "SELECT count(*) FROM event"
PARKED = "SELECT count(*) FROM parked_event"
READ = "SELECT count(*) FROM event WHERE position <= :position"


@dataclass
class Tally:
    """Number and cents per state, for one programme, envelope or contract."""

    number: Counter[str] = field(default_factory=Counter)
    cents: Counter[str] = field(default_factory=Counter)

    def add(self, state: str, value_cents: int) -> None:
        """Counts one cheque."""
        self.number[state] += 1
        self.cents[state] += value_cents


Books = dict[tuple[str, str], Tally]
"""Tallies by what they are of (`programme`, `envelope`, `contract`) and its name."""


def connect(environ: Any) -> dict[str, sa.Engine]:
    """An engine for each service's schema; raises ConfigurationError naming the addresses that are missing."""
    given = with_files(environ)
    names = {service: f"{service.upper()}_DATABASE_URL" for service in SERVICES}
    missing = [name for name in names.values() if name not in given]
    if missing:
        raise ConfigurationError(f"{', '.join(missing)} must be set: verifying reads the rows of all three services.")
    return {service: db.connect(given[name], service, 2) for service, name in names.items()}


def check_at_rest(engines: dict[str, sa.Engine], wait: float, everything: bool = False) -> Books:
    """Compares the services when all news has arrived; raises Fault, which names `everything` or the first.

    What looks wrong while they were at work may only have been read before and after a change: it is looked at again.
    """
    for _ in range(_TRIES):
        settle(engines, wait)
        written = _written(engines)
        try:
            return check(engines, everything)
        except Fault:
            if _written(engines) == written:
                raise
    raise Fault("the services were at work while they were read: verify when they rest")


def _written(engines: dict[str, sa.Engine]) -> list[int]:
    return [_scalar(engine, HEAD) for engine in engines.values()]


def settle(engines: dict[str, sa.Engine], wait: float) -> None:
    """Waits until every service has read the others' news; raises Fault naming who is behind."""
    deadline = time.monotonic() + wait
    while behind := _behind(engines):
        if time.monotonic() >= deadline:
            raise Fault("; ".join(behind))
        time.sleep(_POLL_SECONDS)


def _behind(engines: dict[str, sa.Engine]) -> list[str]:
    found = []
    for publisher, readers in READERS.items():
        written = _scalar(engines[publisher], HEAD)
        for reader in readers:
            position = _scalar(engines[reader], "SELECT position FROM cursor WHERE publisher = :name", name=publisher)
            read = _scalar(engines[publisher], READ, position=position or 0)
            if read < written:
                found.append(f"{reader} has {written - read} events of {publisher} still to read")
    for service, engine in engines.items():
        if parked := _scalar(engine, PARKED):
            found.append(f"{service} has {parked} events parked for cheques that it was not told of")
    return found


class _Judge:
    """Stops at the first row that does not fit, or keeps what does not fit until all rows were seen."""

    def __init__(self, everything: bool) -> None:
        self._everything = everything
        self._found: list[str] = []

    def fits(self, check: Callable[..., None], *row: Any) -> bool:
        """Whether a check passes; raises its Fault where the first one is enough."""
        try:
            check(*row)
        except Fault as fault:
            if not self._everything:
                raise
            self._found.append(str(fault))
            return False
        return True

    def close(self) -> None:
        """Raises Fault with all that was found."""
        if self._found:
            raise Fault("\n  ".join([f"{len(self._found)} differences", *self._found]))


def check(engines: dict[str, sa.Engine], everything: bool = False) -> Books:
    """Compares the three services; raises Fault, which names the first row that does not fit, or `everything`."""
    books: Books = {}
    judge = _Judge(everything)
    with ExitStack() as stack:
        issued, spent, linked = (
            stack.enter_context(_stream(engines[service], query))
            for service, query in (("issuer", ISSUED), ("redeemer", SPENT), ("operator_bridge", LINKED))
        )
        for cheque_id, (stub, judged, known) in side_by_side("cheque_id", issued, spent, linked):
            if judge.fits(check_cheque, cheque_id, stub, judged, known):
                _count(books, stub, judged, known)
        owed = stack.enter_context(_stream(engines["redeemer"], OWED))
        declared = stack.enter_context(_stream(engines["operator_bridge"], DECLARED))
        for redemption_id, (ours, theirs) in side_by_side("redemption_id", owed, declared):
            judge.fits(check_redemption, redemption_id, ours, theirs)
        judge.fits(_check_money, engines["issuer"])
    # The streams are closed by now: each holds a connection.
    judge.fits(_check_statements, engines["redeemer"])
    judge.fits(_check_contracts, engines)
    judge.close()
    return books


def side_by_side(key: str, *streams: Iterable[Any]) -> Iterator[tuple[UUID, list[Any]]]:
    """Walks streams that are sorted by `key` together: each key once, with each stream's row or None."""
    walking = [iter(stream) for stream in streams]
    rows = [next(stream, None) for stream in walking]
    while any(row is not None for row in rows):
        lowest = min(getattr(row, key) for row in rows if row is not None)
        at = [row if row is not None and getattr(row, key) == lowest else None for row in rows]
        yield lowest, at
        rows = [next(walking[i], None) if at[i] is not None else row for i, row in enumerate(rows)]


def _check_statements(redeemer: sa.Engine) -> None:
    for fault in statements.faults(redeemer):
        raise Fault(fault)


def _check_contracts(engines: dict[str, sa.Engine]) -> None:
    with _stream(engines["operator_bridge"], CONTRACTS) as ours, _stream(engines["redeemer"], HEARD) as theirs:
        for contract_id, (made, heard) in side_by_side("contract_id", ours, theirs):
            if made is None or (heard is not None and heard.state != made.state):
                states = f"{heard.state} to the redeemer and {made.state if made else 'not known'} to the bridge"
                raise Fault(f"contract {heard.code} ({contract_id}) is {states}")


def _check_money(issuer: sa.Engine) -> None:
    with _stream(issuer, REPLACED) as replaced:
        for row in replaced:
            pair = f"cheque {row.old_cheque_id} and {row.new_cheque_id}, which replaces it,"
            raise Fault(f"{pair} are not of one grant, envelope and value, the old one cancelled")
    with _stream(issuer, GRANTS) as grants:
        for row in grants:
            raise Fault(f"grant {row.grant_id} is of {row.amount_cents} cents and its cheques of {row.cheques_cents}")
    with _stream(issuer, ENVELOPES) as envelopes:
        for row in envelopes:
            if not row.engaged_cents == row.charged_cents <= row.amount_cents:
                amounts = f"{row.engaged_cents} cents engaged, {row.charged_cents} charged, {row.amount_cents} in all"
                raise Fault(f"envelope {row.envelope}: {amounts}")
    for fault in journal.faults(issuer):
        raise Fault(fault)


def _count(books: Books, stub: Any, judged: Any, known: Any) -> None:
    places = [("programme", stub.programme), ("envelope", stub.envelope)]
    places += [("contract", code) for code in known.contracts or ()]
    for place in places:
        books.setdefault(place, Tally()).add(judged.state, judged.value_cents)


def _scalar(engine: sa.Engine, query: str, **values: Any) -> Any:
    with engine.connect() as connection:
        return connection.execute(sa.text(query), values).scalar()


@contextmanager
def _stream(engine: sa.Engine, query: str) -> Iterator[Iterable[Any]]:
    """Rows of one query as they come from the server, from one snapshot."""
    with engine.connect() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        yield connection.execution_options(**_STREAM).execute(sa.text(query))
