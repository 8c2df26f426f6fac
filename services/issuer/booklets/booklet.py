"""Booklets: a grant's cheques for a person, in plain French, on paper or for a phone.

A booklet does not name the person. It contains only cheques that can still be used, with their codes: a booklet that is
made again is shorter, and says why. The QR code contains the cheque's code and nothing else.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import segno
import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.booklets import nearby
from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import (
    BLOCKED,
    CANCELLED,
    EXPIRED,
    ISSUED,
    REDEEMED,
    SPENDABLE,
    Cheque,
    ReplacedCheque,
)
from services.issuer.funding.models import Envelope
from services.issuer.grants.models import Grant, booklet_number
from services.issuer.prescribers.models import Prescriber
from shared.database import engine
from shared.database.paging import page
from shared.problems import Conflict
from shared.values import cheque_code, french_format

USABLE = (ISSUED, SPENDABLE)

_NO_BREAK = "\u00a0"
_USUAL_PURPOSE = (
    "Ces chèques paient des cours et des ateliers pour apprendre à se servir d’un ordinateur, d’un téléphone ou"
    " d’Internet."
)
# Any of the eight masks of ISO 18004 is read as well over random bits, and trying all to choose is most of the work.
_MASK = 3
_NOT_YET = "Attendez quelques jours avant d’utiliser ces chèques : ils sont en cours d’activation."
_GONE = {
    REDEEMED: ("déjà utilisé", "déjà utilisés"),
    BLOCKED: ("bloqué", "bloqués"),
    CANCELLED: ("annulé", "annulés"),
    EXPIRED: ("trop ancien", "trop anciens"),
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A place to go to: its name, the lines of its address, its telephone."""

    name: str
    lines: tuple[str, ...]
    phone: str | None


@dataclass(frozen=True, slots=True)
class Face:
    """A cheque as it is printed; `repr` shows neither its code nor the code's QR."""

    number: int
    value: str
    until: str
    funder: str
    code: str = field(repr=False)
    modules: str = field(repr=False)
    """The dark modules of the QR code, as the outline of an SVG path in a square of `size`."""
    size: int


@dataclass(frozen=True, slots=True)
class Booklet:
    number: str
    programme: str
    purpose: str
    holds: str
    amount: str
    until: str
    count: int
    prescriber: Spot
    places: tuple[Spot, ...]
    notes: tuple[str, ...]
    funders: str
    cheques: tuple[Face, ...]


def number(grant_id: UUID) -> str:
    """The booklet's number, by which it is spoken of: the end of its grant's identifier, `7F3A-19C2`."""
    return f"{grant_id.hex[-8:-4]}-{grant_id.hex[-4:]}".upper()


def find_page(session: Session, query: Mapping[str, Any], owner: UUID | None) -> dict[str, Any]:
    """A page of the grants whose booklet has a number; `owner` is the prescriber who asks, None for who sees all."""
    end = query["number"].replace("-", "").replace(" ", "").lower()
    grants = sa.select(Grant).where(booklet_number() == end)
    grants = grants if owner is None else grants.where(Grant.prescriber_id == owner)
    return page(session, grants, Grant.id, query["after"], query["limit"])


def booklet(session: Session, codes: Codes, grant_id: UUID, today: date) -> Booklet:
    """The booklet of a grant that there is; raises Conflict where none of its cheques can be used any more."""
    made = booklets(session, codes, [grant_id], today)
    if not made:
        raise Conflict("None of the grant's cheques can be used any more.", slug="nothing-to-print")
    return made[0]


def booklets(session: Session, codes: Codes, grant_ids: Sequence[UUID], today: date) -> list[Booklet]:
    """The booklets of these grants, in their order; grants without a usable cheque are left out."""
    cheques = _cheques(session, grant_ids)
    query = sa.select(Grant, Prescriber).join(Prescriber, Prescriber.id == Grant.prescriber_id)
    rows = session.execute(query.where(engine.among(Grant.id, grant_ids))).all()
    grants = {grant.id: (grant, prescriber) for grant, prescriber in rows}
    near = nearby.nearest(session, {(grant.prescriber_id, grant.programme_id) for grant, _ in rows}, today)
    return [
        _booklet(grant, prescriber, cheques[grant.id], near[grant.prescriber_id, grant.programme_id], codes)
        for grant, prescriber in (grants[grant_id] for grant_id in grant_ids if grant_id in grants)
        if any(cheque.state in USABLE for cheque, _ in cheques[grant.id])
    ]


def _cheques(session: Session, grant_ids: Sequence[UUID]) -> Mapping[UUID, list[tuple[Cheque, str]]]:
    """The cheques of each grant, with their funders."""
    found: defaultdict[UUID, list[tuple[Cheque, str]]] = defaultdict(list)
    # A cheque that another has replaced is not missed: the new one stands in its place.
    replaced = sa.exists().where(ReplacedCheque.old_cheque_id == Cheque.id, ReplacedCheque.issued_at.is_not(None))
    query = sa.select(Cheque, Envelope.funder).join(Envelope, Envelope.id == Cheque.envelope_id)
    query = query.where(engine.among(Cheque.grant_id, grant_ids), ~replaced).order_by(Cheque.id)
    for cheque, funder in session.execute(query):
        found[cheque.grant_id].append((cheque, funder))
    return found


def _booklet(
    grant: Grant,
    prescriber: Prescriber,
    charged: Sequence[tuple[Cheque, str]],
    near: Iterable[sa.Row[Any]],
    codes: Codes,
) -> Booklet:
    usable = [(place, *pair) for place, pair in enumerate(charged, 1) if pair[0].state in USABLE]
    values = [cheque.value_cents for _, cheque, _ in usable]
    until = french_format.in_full(grant.valid_until).replace(" ", _NO_BREAK)
    return Booklet(
        number=number(grant.id),
        programme=grant.programme.name,
        purpose=grant.programme.purpose or _USUAL_PURPOSE,
        holds=_held(values),
        amount=euros(sum(values)),
        until=until,
        count=len(charged),
        prescriber=_desk(prescriber),
        places=tuple(map(_spot, near)),
        notes=tuple(_notes([cheque for cheque, _ in charged])),
        funders=", ".join(sorted({funder for _, _, funder in usable})),
        cheques=tuple(_face(place, cheque, funder, until, codes) for place, cheque, funder in usable),
    )


def _face(place: int, cheque: Cheque, funder: str, until: str, codes: Codes) -> Face:
    code = codes.open(cheque)
    return Face(place, euros(cheque.value_cents), until, funder, code, *qr(cheque_code.normalise(code)))


def qr(code: str) -> tuple[str, int]:
    """A canonical code as a QR code: the outline of its dark modules as an SVG path, and its side in modules.

    The highest correction of errors: a cheque is folded, stained, and photographed in bad light.
    """
    matrix = segno.make(code, error="h", micro=False, mask=_MASK).matrix
    runs = ((x, y, length) for y, row in enumerate(matrix) for x, length in _runs(row))
    return "".join(f"M{x} {y}h{length}v1h-{length}z" for x, y, length in runs), len(matrix)


def _runs(row: Iterable[int]) -> Iterable[tuple[int, int]]:
    """The unbroken dark runs of a row: where it begins, and its length."""
    for dark, modules in groupby(enumerate(row), itemgetter(1)):
        if dark:
            (start, _), *rest = modules
            yield start, 1 + len(rest)


def euros(cents: int) -> str:
    """An amount as people say it: `10 €`, and with cents only where there are some."""
    return french_format.in_figures(cents).replace(",00", "")


def _held(values: Sequence[int]) -> str:
    """The content of a booklet: `5 chèques de 10 €`."""
    many = len(values)
    counted = f"{many}{_NO_BREAK}chèque{'s' if many > 1 else ''}"
    return f"{counted} de {euros(values[0])}" if len(set(values)) == 1 else counted


def _notes(cheques: Sequence[Cheque]) -> Iterable[str]:
    if any(cheque.state == ISSUED for cheque in cheques):
        yield _NOT_YET
    gone = Counter(cheque.state for cheque in cheques if cheque.state not in USABLE)
    if gone:
        parts = [f"{many}{_NO_BREAK}{_GONE[state][many > 1]}" for state, many in sorted(gone.items())]
        yield f"Ce carnet avait {len(cheques)} chèques. Ne sont plus dedans : {', '.join(parts)}."


def _desk(prescriber: Prescriber) -> Spot:
    town = f"{prescriber.postcode} {prescriber.commune}"
    return Spot(prescriber.name, (prescriber.address, town), phone(prescriber.details.get("telephone")))


def _spot(structure: sa.Row[Any]) -> Spot:
    town = " ".join(filter(None, (structure.postcode, structure.commune)))
    if structure.km is not None:  # as the crow flies: there are only coordinates
        near = structure.km < 1.5
        away = f"à moins de 2{_NO_BREAK}km" if near else f"à environ {round(structure.km)}{_NO_BREAK}km"
        town = f"{town} ({away})"
    return Spot(structure.name, tuple(filter(None, (structure.address, town))), phone(structure.phone))


def phone(text: str | None) -> str | None:
    """A telephone number as it is dialled and read in France: `05 36 49 00 01`; others as they are."""
    digits = re.sub(r"[\s.-]", "", (text or "").replace("+33", "0", 1))
    if len(digits) == 10 and digits.isdigit():
        return _NO_BREAK.join(digits[at : at + 2] for at in range(0, 10, 2))
    return text or None
