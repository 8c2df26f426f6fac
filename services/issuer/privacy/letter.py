"""The letter to a person, in French: their data and their rights (RGPD, articles 12 to 22)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from services.issuer.cheques.models import BLOCKED, CANCELLED, EXPIRED, ISSUED, REDEEMED, SPENDABLE
from shared.files import pdf_documents
from shared.values import clock
from shared.values.french_format import in_figures, in_full, number

_TEMPLATE = Path(__file__).parent / "person_letter.typ"
_STATES = {
    ISSUED: "en attente d’activation",
    SPENDABLE: "utilisables",
    BLOCKED: "bloqués",
    REDEEMED: "utilisés",
    CANCELLED: "annulés",
    EXPIRED: "périmés",
}
_CAUSES = {"lost": "perdus", "stolen": "volés", "damaged": "abîmés"}


def document(held: Mapping[str, Any], authority: str) -> bytes:
    """The letter about what `personal_data.held` returns; the authority is who answers for the data."""
    return pdf_documents.pdf(_TEMPLATE, _payload(held, authority), held["told_at"])


def _payload(held: Mapping[str, Any], authority: str) -> dict[str, Any]:
    identity, grants = held["identity"], held["grants"]
    return {
        "authority": authority,
        "day": _day(held["told_at"]),
        "family_name": identity["family_name"],
        "given_name": identity["given_name"],
        "born": in_full(identity["birth_date"]),
        "last_contact": in_full(held["last_contact_on"]),
        "others": number(held["grants_of_others"]) if held["grants_of_others"] else "",
        "grants": [_grant(grant) for grant in grants],
        "spent": [line for grant in grants for line in _spent(grant)],
        "requests": [_request(request) for request in held["requests"]],
    }


def _grant(grant: Mapping[str, Any]) -> dict[str, Any]:
    texts = {
        "Programme": grant["programme_name"],
        "Accordée par": grant["prescriber"],
        "Montant": in_figures(grant["amount_cents"]),
        "Chèques": _states(grant["cheques"]),
        "Valables jusqu’au": in_full(grant["valid_until"]),
        "Public": grant["target_public"],
        "Motif": _reason(grant),
        "Points de l’évaluation": None if grant["points"] is None else number(grant["points"]),
        "Motif de l’exception": grant["exception_reason"],
        "Référence de l’organisme": grant["reference"],
        "Aides reçues auparavant": number(grant["previous_grants"]),
        "Votre nom y reste attaché jusqu’au": in_full(grant["kept_until"]),
    }
    lines = [[label, text] for label, text in texts.items() if text]
    return {"head": f"Aide du {in_full(grant['granted_on'])}", "lines": lines}


def _reason(grant: Mapping[str, Any]) -> str:
    """Why, in the words of the programme or of the prescriber; what the product says of an assessment is not French."""
    return grant["reason"] if grant["somebody_wrote_reason"] else "évaluation de votre situation"


def _states(cheques: Sequence[Mapping[str, Any]]) -> str:
    counted = Counter(cheque["state"] for cheque in cheques)
    return ", ".join(f"{number(counted[state])} {label}" for state, label in _STATES.items() if counted[state])


def _spent(grant: Mapping[str, Any]) -> Iterator[list[str]]:
    """Where and when cheques were spent: a line for each day and structure."""
    sums: Counter[tuple[date, str]] = Counter()
    for cheque in grant["cheques"]:
        if cheque["redeemed_on"]:
            sums[cheque["redeemed_on"], cheque["structure"] or "structure de formation"] += cheque["value_cents"]
    for (day, structure), cents in sorted(sums.items()):
        yield [in_full(day), structure, in_figures(cents)]


def _request(request: Mapping[str, Any]) -> list[str]:
    cause = _CAUSES.get(request["cause"] or "")
    what = f"Remplacement de chèques {cause}" if cause else "Annulation de chèques"
    return [_day(request["requested_at"]), what, number(len(request["cheque_ids"])), request["reason"]]


def _day(instant: datetime) -> str:
    return in_full(clock.day_of(instant))
