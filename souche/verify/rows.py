"""What `souche verify` holds together row by row: a cheque as all three know it, a redemption as two do."""

from typing import Any
from uuid import UUID


class Fault(Exception):
    """The first row that does not fit: which, what it is and what it should be."""


def check_cheque(cheque_id: UUID, stub: Any, judged: Any, known: Any) -> None:
    """Holds a cheque of the issuer, the redeemer and the bridge together; raises Fault."""
    for service, row in (("issuer", stub), ("redeemer", judged), ("operator bridge", known)):
        if row is None:
            raise Fault(f"cheque {cheque_id} is not known to the {service}{_what_is_known(judged)}")
    if not stub.programme == judged.programme == known.programme:
        programmes = f"{stub.programme}, {judged.programme} and {known.programme}"
        raise Fault(f"cheque {cheque_id} is of {programmes} to issuer, redeemer and operator bridge")
    if not stub.value_cents == judged.value_cents == known.value_cents:
        values = f"{stub.value_cents}, {judged.value_cents} and {known.value_cents}"
        raise Fault(f"cheque {cheque_id} is worth {values} cents to issuer, redeemer and operator bridge")
    if stub.state != judged.state:
        raise Fault(f"cheque {cheque_id} is {judged.state} to the redeemer and {stub.state} to the issuer")
    if known.state != _as_the_bridge_says(judged.state):
        raise Fault(f"cheque {cheque_id} is {judged.state} to the redeemer and {known.state} to the operator bridge")
    expected = (1, judged.value_cents) if judged.state == "redeemed" else (0, 0)
    if (judged.redemptions, judged.redeemed_cents) != expected:
        found = f"{judged.redemptions} redemptions of {judged.redeemed_cents} cents in all"
        raise Fault(f"cheque {cheque_id}, worth {judged.value_cents} cents, is {judged.state} and has {found}")
    if known.redemptions != expected[0]:
        raise Fault(f"cheque {cheque_id} is {judged.state} and the operator bridge has {known.redemptions} redemptions")
    if known.state == "open" and known.has_operator and not known.contracts:
        raise Fault(f"cheque {cheque_id} can be spent and the operator bridge links it with no contract")


def _what_is_known(judged: Any) -> str:
    """What the redeemer knows of a cheque that another lost: by that a person finds the paper that tells the rest."""
    if judged is None:
        return ""
    when = f"granted on {judged.granted_on}, worth {judged.value_cents} cents, {judged.state} to the redeemer"
    return f": it is of grant {judged.grant_id} of {judged.programme}, {when}"


def _as_the_bridge_says(state: str) -> str:
    """The bridge does not tell apart what the redeemer alone judges."""
    return "open" if state in ("pending", "spendable") else state


def check_redemption(redemption_id: UUID, ours: Any, theirs: Any) -> None:
    """Holds a redemption of the redeemer and the bridge together; raises Fault."""
    for service, row in (("redeemer", ours), ("operator bridge", theirs)):
        if row is None:
            raise Fault(f"redemption {redemption_id} is not known to the {service}")
    for name in ("cheque_id", "amount_cents", "structure_id", "state"):
        if getattr(ours, name) != getattr(theirs, name):
            values = f"{getattr(ours, name)} to the redeemer and {getattr(theirs, name)} to the operator bridge"
            raise Fault(f"redemption {redemption_id} of cheque {ours.cheque_id}: {name} is {values}")
    if theirs.nobody_pays:
        raise Fault(f"redemption {redemption_id} of cheque {ours.cheque_id} is due and no operator was told of it")
    if theirs.never_declared:
        missing = "was not declared, as the operator refused its cheque, and nobody pays it"
        raise Fault(f"redemption {redemption_id} of cheque {ours.cheque_id} {missing}: see `souche operator adopt`")
