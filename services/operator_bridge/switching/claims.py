"""What an operator that failed owes: the claims file, and the letter with their sums per structure and in all.

Amounts are cents of EUR here; the files are in French, for the liquidator (mandataire judiciaire). The letter is a
déclaration de créances to print and send, accessible (PDF/UA). Its required content: Code de commerce, articles
L. 622-24, L. 622-25 and R. 622-23, for a liquidation by L. 641-3.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.register.models import Contract
from services.operator_bridge.switching import switchover
from shared.files import pdf_documents
from shared.files.csv_export import line as csv_line
from shared.problems import Conflict
from shared.values import clock
from shared.values.french_format import in_figures, in_full, in_words, number
from shared.values.money import decimal

_KINDS = {
    "unspent": ("Chèque prépayé non utilisé", "valeur prépayée, à restituer au créancier"),
    "declared": (
        "Utilisation déclarée et non payée", "prestation rendue par la structure et déclarée à l’opérateur",
    ),
    "undeclared": (
        "Utilisation non déclarée et non payée", "prestation rendue par la structure, l’opérateur ne répondant plus",
    ),
}  # fmt: skip
_TEMPLATE = Path(__file__).parent / "claims.typ"
_COLUMNS = (
    "Nature", "Chèque", "Référence de l’enregistrement", "Structure", "SIRET", "Identifiant de la structure",
    "Référence de la déclaration", "Date de l’atelier", "Date d’utilisation", "Montant (euros)",
)  # fmt: skip

# A structure has the same name under all its contracts.
_CLAIMED = """
    claim LEFT JOIN LATERAL (
        SELECT name, siret FROM affiliation WHERE affiliation.structure_id = claim.structure_id
        ORDER BY contract_id DESC LIMIT 1
    ) structure ON true
"""
# What the operator knows a cheque by is our reference of its registration: its own number for it may be worth money,
# and is not shown.
_LINES = sa.text(f"""
    SELECT claim.*, structure.name, structure.siret, registered.order_id AS registration
    FROM {_CLAIMED} LEFT JOIN (
        SELECT DISTINCT ON (cheque_id) cheque_id, order_id FROM operator_order
        WHERE kind = 'register'
          AND contract_id = (SELECT from_contract_id FROM switch WHERE switch_id = :switch)
        ORDER BY cheque_id, sequence
    ) registered ON registered.cheque_id = claim.cheque_id
    WHERE switch_id = :switch
    ORDER BY claim.kind = 'unspent', name, structure_id, redeemed_at, claim.cheque_id
""").execution_options(yield_per=2000)  # noqa: S608 (a constant of this module)
_SUMS = sa.text(f"""
    SELECT kind, structure_id, name, siret, count(*) AS number, sum(amount_cents) AS cents
    FROM {_CLAIMED} WHERE switch_id = :switch
    GROUP BY kind, structure_id, name, siret ORDER BY name, structure_id, kind
""")  # noqa: S608 (as above)


@dataclass(frozen=True)
class Amount:
    """A number of cheques, and their cents."""

    number: int = 0
    cents: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.number + other.number, self.cents + other.cents)


NOTHING = Amount()


@dataclass(frozen=True)
class Owed:
    """What is owed for the redemptions of one structure."""

    name: str
    siret: str
    declared: Amount
    undeclared: Amount


@dataclass(frozen=True)
class Summary:
    """What the first pages of the claim say."""

    creditor: str
    debtor: str
    contract: str
    programme: str
    counted_on: date
    """The day on which the operator was taken to have failed."""
    unspent: Amount
    structures: tuple[Owed, ...]
    reference: str
    sha256: str
    """Of the CSV file, which lists every cheque."""

    def all_of(self, kind: str) -> Amount:
        """The sum of one kind of redemption over all structures."""
        return sum((getattr(owed, kind) for owed in self.structures), NOTHING)

    @property
    def total(self) -> Amount:
        return self.unspent + self.all_of("declared") + self.all_of("undeclared")


def check(session: Session, switch_id: UUID) -> None:
    """Raises NotFound, or Conflict where a switch has no claims, or not all of them yet."""
    switch = switchover.find(session, switch_id)
    if switch.mode != "failure":
        raise Conflict("Nothing is claimed in a handover: the old operator pays what it accepted.", slug="no-claims")
    done = {step.step for step in switchover.steps(session, switch_id) if step.finished_at}
    if "last_statement" not in done:
        raise Conflict("The claims are not all written down yet.", slug="claims-not-ready")


def table(session: Session, switch_id: UUID) -> IO[bytes]:
    """The claims file, to be read and closed: CSV for a French spreadsheet, with a byte order mark and decimal commas.

    It is written to disk first, so that no transaction is open for as long as somebody reads it. Raises NotFound or
    Conflict as `check` does.
    """
    check(session, switch_id)
    with ExitStack() as on_failure:
        file = on_failure.enter_context(TemporaryFile())
        file.writelines(line.encode() for line in _lines(session, switch_id))
        file.seek(0)
        on_failure.pop_all()
    return file


def _lines(session: Session, switch_id: UUID) -> Iterator[str]:
    yield "\ufeff" + csv_line(_COLUMNS, ";")
    for row in session.execute(_LINES, {"switch": switch_id}):
        yield csv_line(
            (
                _KINDS[row.kind][0], row.cheque_id, row.registration, row.name, row.siret, row.structure_id,
                row.reference, _day(row.given_on), _day(row.redeemed_at), decimal(row.amount_cents).replace(".", ","),
            ),
            ";",
        )  # fmt: skip


def summary(session: Session, switch_id: UUID) -> Summary:
    """The sums of the claims; raises NotFound or Conflict as `check` does."""
    with table(session, switch_id) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    switch = switchover.find(session, switch_id)
    contract = session.get_one(Contract, switch.from_contract_id)
    sums = session.execute(_SUMS, {"switch": switch_id}).all()
    unspent = sum((Amount(row.number, int(row.cents)) for row in sums if row.kind == "unspent"), NOTHING)
    return Summary(
        creditor=switch.creditor,
        debtor=lookup.adapter(contract.operator).name or contract.operator,
        contract=contract.code,
        programme=contract.programme,
        counted_on=clock.day_of(switch.started_at),
        unspent=unspent,
        structures=tuple(_by_structure(row for row in sums if row.kind != "unspent")),
        reference=str(switch_id),
        sha256=sha256,
    )


def _by_structure(rows: Iterable[Any]) -> Iterator[Owed]:
    found: dict[UUID | None, dict[str, Any]] = {}
    for row in rows:
        owed = found.setdefault(row.structure_id, {"name": row.name or str(row.structure_id), "siret": row.siret or ""})
        owed[row.kind] = Amount(row.number, int(row.cents))
    return (Owed(**{"declared": NOTHING, "undeclared": NOTHING, **owed}) for owed in found.values())


def letter(claims: Summary) -> bytes:
    """The claims as a letter in PDF; the same claims give the same bytes."""
    return pdf_documents.pdf(_TEMPLATE, _content(claims), datetime.combine(claims.counted_on, time(12), UTC))


def _content(claims: Summary) -> dict[str, Any]:
    amounts = {"unspent": claims.unspent, **{kind: claims.all_of(kind) for kind in ("declared", "undeclared")}}
    declared, undeclared = amounts["declared"], amounts["undeclared"]
    unchanged = ("reference", "creditor", "debtor", "contract", "programme", "sha256")
    return {
        **{name: getattr(claims, name) for name in unchanged},
        "title": f"Déclaration de créances – {claims.debtor}",
        "counted_on": in_full(claims.counted_on),
        "kinds": [[" : ".join(_KINDS[kind]), *_cells(amount)] for kind, amount in amounts.items()],
        "total": ["Total", *_cells(claims.total)],
        "figures": in_figures(claims.total.cents),
        "words": in_words(claims.total.cents),
        "structures": [_line(owed) for owed in claims.structures],
        "owed": _line(Owed("Total", "", declared, undeclared)),
        "owed_words": in_words((declared + undeclared).cents),
    }


def _line(owed: Owed) -> list[str]:
    total = in_figures((owed.declared + owed.undeclared).cents)
    return [owed.name, owed.siret, *_cells(owed.declared), *_cells(owed.undeclared), total]


def _cells(amount: Amount) -> list[str]:
    return [number(amount.number), in_figures(amount.cents)]


def _day(when: date | None) -> str:
    if when is None:
        return ""
    return (when.astimezone(clock.PARIS) if isinstance(when, datetime) else when).strftime("%d/%m/%Y")
