"""The claims as a letter to print and send: a déclaration de créances, in French, accessible (PDF/UA).

Its required content: Code de commerce, articles L. 622-24, L. 622-25 and R. 622-23, for a liquidation by L. 641-3.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from services.operator_bridge.switching.claims import KINDS, Amount, Owed, Summary
from shared.files import pdf_documents
from shared.values.french_format import in_figures, in_full, in_words, number

_TEMPLATE = Path(__file__).parent / "claims.typ"
_OWED_TO: Mapping[str, str] = {
    "unspent": "valeur prépayée, à restituer au créancier",
    "declared": "prestation rendue par la structure et déclarée à l’opérateur",
    "undeclared": "prestation rendue par la structure, l’opérateur ne répondant plus",
}


def write(claims: Summary) -> bytes:
    """The document; the same claims give the same bytes."""
    return pdf_documents.pdf(_TEMPLATE, _content(claims), datetime.combine(claims.counted_on, time(12), UTC))


def _content(claims: Summary) -> dict[str, Any]:
    amounts = {"unspent": claims.unspent, **{kind: claims.all_of(kind) for kind in ("declared", "undeclared")}}
    declared, undeclared = amounts["declared"], amounts["undeclared"]
    owed = declared + undeclared
    return {
        "title": f"Déclaration de créances – {claims.debtor}",
        "reference": claims.reference,
        "creditor": claims.creditor,
        "debtor": claims.debtor,
        "contract": claims.contract,
        "programme": claims.programme,
        "counted_on": in_full(claims.counted_on),
        "kinds": [[f"{KINDS[kind]} : {_OWED_TO[kind]}", *_cells(amount)] for kind, amount in amounts.items()],
        "total": ["Total", *_cells(claims.total)],
        "figures": in_figures(claims.total.cents),
        "words": in_words(claims.total.cents),
        "sha256": claims.sha256,
        "structures": [_line(owed) for owed in claims.structures],
        "owed": ["Total", "", *_cells(declared), *_cells(undeclared), in_figures(owed.cents)],
        "owed_words": in_words(owed.cents),
    }


def _line(owed: Owed) -> list[str]:
    total = in_figures((owed.declared + owed.undeclared).cents)
    return [owed.name, owed.siret, *_cells(owed.declared), *_cells(owed.undeclared), total]


def _cells(amount: Amount) -> list[str]:
    return [number(amount.number), in_figures(amount.cents)]
