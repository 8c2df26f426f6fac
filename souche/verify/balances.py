"""All balances from the rows of all three services, cheque by cheque.

For every programme, envelope and contract: issued = pending + spendable + redeemed + cancelled + expired + blocked, in
number and in cents. The three services are read as three streams in the order of the cheques' ids and compared side by
side, so memory stays flat and they may live in three databases.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID

from souche.verify import ledgers
from souche.verify.logs import heads, wait_until_read
from souche.verify.reading import Engines, Fault, side_by_side, stream

_TRIES = 5

_ISSUED = """
    SELECT cheque.id AS cheque_id, programme.code AS programme, envelope.convention_reference AS envelope,
           cheque.value_cents, CASE cheque.state WHEN 'issued' THEN 'pending' ELSE cheque.state END AS state
    FROM cheque JOIN envelope ON envelope.id = cheque.envelope_id JOIN programme ON programme.id = envelope.programme_id
    ORDER BY cheque.id
"""
_SPENT = """
    SELECT cheque.id AS cheque_id, rules.programme, cheque.value_cents, cheque.state, grant_id, granted_on,
           count(redemption.id) AS redemptions, coalesce(sum(redemption.amount_cents), 0) AS redeemed_cents
    FROM cheque JOIN spending_rules rules ON rules.id = cheque.rules_id
    LEFT JOIN redemption ON redemption.cheque_id = cheque.id AND redemption.reversed_at IS NULL
    GROUP BY cheque.id, rules.programme ORDER BY cheque.id
"""
_LINKED = """
    SELECT cheque.cheque_id, cheque.programme, cheque.value_cents,
           cheque.programme IN (SELECT programme FROM contract WHERE state = 'live') AS has_operator,
           CASE WHEN cheque.state = 'open' AND cheque.blocked THEN 'blocked' ELSE cheque.state END AS state,
           array_agg(contract.code ORDER BY contract.code) FILTER (WHERE contract.code IS NOT NULL) AS contracts,
           (SELECT count(*) FROM redemption
            WHERE redemption.cheque_id = cheque.cheque_id AND redemption.state <> 'reversed') AS redemptions
    FROM cheque LEFT JOIN link USING (cheque_id) LEFT JOIN contract USING (contract_id)
    GROUP BY cheque.cheque_id ORDER BY cheque.cheque_id
"""
_OWED = """
    SELECT id AS redemption_id, cheque_id, amount_cents, structure_id,
           CASE WHEN reversed_at IS NULL THEN state ELSE 'reversed' END AS state
    FROM redemption ORDER BY id
"""
_DECLARED = """
    SELECT redemption_id, cheque_id, amount_cents, structure_id, redemption.state,
           redemption.state = 'due' AND redemption.contract_id IS NULL AND programme IN (
               SELECT programme FROM contract WHERE state = 'live') AS nobody_pays,
           redemption.state = 'refused' AND EXISTS (
               SELECT FROM operator_order o WHERE o.reason = 'cheque-not-registered'
               AND o.order_id = CASE via WHEN 'till' THEN CAST(reference AS uuid) END) AS never_declared
    FROM redemption JOIN cheque USING (cheque_id) ORDER BY redemption_id
"""
_CONTRACTS = "SELECT contract_id, code, state FROM contract ORDER BY contract_id"
_CONTRACTS_READ = "SELECT id AS contract_id, code, state FROM contract ORDER BY id"


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
"""Tallies by kind (`programme`, `envelope`, `contract`) and name."""


def check_at_rest(engines: Engines, wait: float, everything: bool = False) -> Books:
    """The books, once all events are read; raises Fault, which names the first difference, or `everything`.

    Rows that are read before and after a change differ without a fault: they are compared again while events are added.
    """
    for _ in range(_TRIES):
        wait_until_read(engines, wait)
        before = heads(engines)
        try:
            return check(engines, everything)
        except Fault:
            if heads(engines) == before:
                raise
    raise Fault("the services were at work while they were read: verify when they rest")


def check(engines: Engines, everything: bool = False) -> Books:
    """The books of the three services; raises Fault, which names the first row that does not fit, or `everything`."""
    books: Books = {}
    with closing(_faults(engines, books)) as faults:
        found = list(islice(faults, None if everything else 1))
    if found:
        raise Fault("\n  ".join([f"{len(found)} differences", *found]) if everything else found[0])
    return books


def _faults(engines: Engines, books: Books) -> Generator[str, None, None]:
    issuer, redeemer, bridge = (engines[service] for service in ("issuer", "redeemer", "operator_bridge"))
    with stream(issuer, _ISSUED) as issued, stream(redeemer, _SPENT) as spent, stream(bridge, _LINKED) as linked:
        for cheque_id, cheques in side_by_side("cheque_id", issued, spent, linked):
            if fault := _cheque_fault(cheque_id, *cheques):
                yield fault
            else:
                _count(books, *cheques)
    with stream(redeemer, _OWED) as owed, stream(bridge, _DECLARED) as declared:
        for redemption_id, redemptions in side_by_side("redemption_id", owed, declared):
            if fault := _redemption_fault(redemption_id, *redemptions):
                yield fault
    yield from ledgers.faults(issuer, ledgers.ISSUER)
    yield from ledgers.faults(redeemer, ledgers.REDEEMER)
    with stream(bridge, _CONTRACTS) as made, stream(redeemer, _CONTRACTS_READ) as read:
        for contract_id, (contract, copy) in side_by_side("contract_id", made, read):
            if contract is None or (copy is not None and copy.state != contract.state):
                states = f"{copy.state} to the redeemer and {contract.state if contract else 'not known'} to the bridge"
                yield f"contract {copy.code} ({contract_id}) is {states}"


def _count(books: Books, issued: Any, spendable: Any, registered: Any) -> None:
    names = [("programme", issued.programme), ("envelope", issued.envelope)]
    names += [("contract", code) for code in registered.contracts or ()]
    for name in names:
        books.setdefault(name, Tally()).add(spendable.state, spendable.value_cents)


def _cheque_fault(cheque_id: UUID, issued: Any, spendable: Any, registered: Any) -> str | None:
    """What does not fit in a cheque's rows of the issuer, the redeemer and the bridge."""
    cheque = f"cheque {cheque_id}"
    for service, row in (("issuer", issued), ("redeemer", spendable), ("operator bridge", registered)):
        if row is None:
            return f"{cheque} is unknown to the {service}{_redeemer_record(spendable)}"
    if not issued.programme == spendable.programme == registered.programme:
        programmes = f"{issued.programme}, {spendable.programme} and {registered.programme}"
        return f"{cheque} is of {programmes} to issuer, redeemer and operator bridge"
    if not issued.value_cents == spendable.value_cents == registered.value_cents:
        values = f"{issued.value_cents}, {spendable.value_cents} and {registered.value_cents}"
        return f"{cheque} is worth {values} cents to issuer, redeemer and operator bridge"
    if issued.state != spendable.state:
        return f"{cheque} is {spendable.state} to the redeemer and {issued.state} to the issuer"
    # The bridge does not distinguish pending from spendable.
    if registered.state != ("open" if spendable.state in ("pending", "spendable") else spendable.state):
        return f"{cheque} is {spendable.state} to the redeemer and {registered.state} to the operator bridge"
    expected = (1, spendable.value_cents) if spendable.state == "redeemed" else (0, 0)
    if (spendable.redemptions, spendable.redeemed_cents) != expected:
        found = f"{spendable.redemptions} redemptions of {spendable.redeemed_cents} cents in all"
        return f"{cheque}, worth {spendable.value_cents} cents, is {spendable.state} and has {found}"
    if registered.redemptions != expected[0]:
        return f"{cheque} is {spendable.state} and the operator bridge has {registered.redemptions} redemptions"
    if registered.state == "open" and registered.has_operator and not registered.contracts:
        return f"{cheque} can be spent and the operator bridge links it with no contract"
    return None


def _redeemer_record(spendable: Any) -> str:
    """The redeemer's facts about a cheque that another service lost, by which a person finds the paper record."""
    if spendable is None:
        return ""
    when = f"granted on {spendable.granted_on}, worth {spendable.value_cents} cents, {spendable.state} to the redeemer"
    return f": it is of grant {spendable.grant_id} of {spendable.programme}, {when}"


def _redemption_fault(redemption_id: UUID, owed: Any, declared: Any) -> str | None:
    """What does not fit in a redemption's rows of the redeemer and the bridge."""
    for service, row in (("redeemer", owed), ("operator bridge", declared)):
        if row is None:
            return f"redemption {redemption_id} is unknown to the {service}"
    redemption = f"redemption {redemption_id} of cheque {owed.cheque_id}"
    for name in ("cheque_id", "amount_cents", "structure_id", "state"):
        if getattr(owed, name) != getattr(declared, name):
            values = f"{getattr(owed, name)} to the redeemer and {getattr(declared, name)} to the operator bridge"
            return f"{redemption}: {name} is {values}"
    if declared.nobody_pays:
        return f"{redemption} is due and was declared to no operator"
    if declared.never_declared:
        missing = "was not declared, as the operator refused its cheque, and nobody pays it"
        return f"{redemption} {missing}: see `souche operator adopt`"
    return None
