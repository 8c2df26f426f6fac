"""The claims as a letter to print and send: a déclaration de créances, in French, with every font embedded.

What it has to say: Code de commerce, articles L. 622-24, L. 622-25 and R. 622-23, for a liquidation by L. 641-3.
"""

import functools
import io
from collections.abc import Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import reportlab
from num2words import num2words
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, LongTable, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table

from services.operator_bridge.claims import KINDS, Amount, Summary

_FONT, _BOLD = "Vera", "VeraBd"
_MONTHS = (
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
    "décembre",
)  # fmt: skip
_GREY, _LINE = colors.HexColor("#eef1f4"), colors.HexColor("#9aa5b1")
_TEXT = ParagraphStyle("text", fontName=_FONT, fontSize=9.5, leading=14, spaceAfter=3 * mm)
_SMALL = ParagraphStyle("small", parent=_TEXT, fontSize=8, leading=10.5, spaceAfter=0)
_AMOUNT = ParagraphStyle("amount", parent=_SMALL, alignment=TA_RIGHT)
_TITLE = ParagraphStyle("title", parent=_TEXT, fontName=_BOLD, fontSize=16, leading=21, spaceBefore=4 * mm)
_HEADING = ParagraphStyle("heading", parent=_TEXT, fontName=_BOLD, fontSize=11, leading=15, spaceBefore=3 * mm)
_GRID: list[Any] = [
    ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
    ("BACKGROUND", (0, 0), (-1, 0), _GREY),
    ("BACKGROUND", (0, -1), (-1, -1), _GREY),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 1 * mm),
    ("RIGHTPADDING", (0, 0), (-1, -1), 1 * mm),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5 * mm),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5 * mm),
]


def write(claims: Summary) -> bytes:
    """The document; the same claims give the same bytes."""
    _load_fonts()
    pages, _ = _build(claims, 0)
    return _build(claims, pages)[1]


def _build(claims: Summary, pages: int) -> tuple[int, bytes]:
    """Sets the document, which is of so many pages; gives how many there are in fact, and its bytes."""
    written = io.BytesIO()
    title = f"Déclaration de créances – {claims.debtor}"
    document = SimpleDocTemplate(
        written, pagesize=A4, leftMargin=20 * mm, rightMargin=20 * mm, topMargin=18 * mm, bottomMargin=22 * mm,
        title=title, author=claims.creditor, subject=f"Contrat {claims.contract}", creator="Souche", lang="fr-FR",
        invariant=1, initialFontName=_FONT, displayDocTitle=True,
    )  # fmt: skip
    foot = functools.partial(_foot, claims.reference, pages)
    document.build([*_letter(claims), PageBreak(), *_by_structure(claims)], onFirstPage=foot, onLaterPages=foot)
    return document.page, written.getvalue()


def _foot(reference: str, pages: int, canvas: Canvas, document: Any) -> None:
    canvas.setFont(_FONT, 7.5)
    canvas.drawString(20 * mm, 12 * mm, f"Déclaration de créances – référence {reference}")
    canvas.drawRightString(190 * mm, 12 * mm, f"page {document.page} sur {pages}")


def in_figures(cents: int) -> str:
    """An amount as it is written in French: `1 234,50 €`, with spaces at which no line breaks."""
    return f"{cents // 100:,}".replace(",", "\u00a0") + f",{cents % 100:02d}\u00a0€"


def in_words(cents: int) -> str:
    """An amount in French words: `mille deux cent trente-quatre euros et cinquante centimes`."""
    euros, rest = divmod(cents, 100)
    words = num2words(euros, lang="fr")
    of = " d’" if words.endswith(("million", "millions", "milliard", "milliards")) else " "
    written = f"{words}{of}euro{'s' if euros > 1 else ''}"
    if rest:
        written += f" et {num2words(rest, lang='fr')} centime{'s' if rest > 1 else ''}"
    return written


def in_full(day: date) -> str:
    """A day as it is written in French: `1er janvier 2026`."""
    return f"{'1er' if day.day == 1 else day.day} {_MONTHS[day.month - 1]} {day.year}"


def _letter(claims: Summary) -> list[Flowable]:
    return [
        Paragraph(f"<b>{escape(claims.creditor)}</b><br/>Créancier", _TEXT),
        Paragraph("À l’attention du mandataire judiciaire, liquidateur de<br/>"
                  f"<b>{escape(claims.debtor)}</b><br/>Nom et adresse : {'.' * 70}", _TEXT),
        Paragraph("Déclaration de créances", _TITLE),
        Paragraph(
            "Code de commerce, articles L. 622-24, L. 622-25 et R. 622-23 ; en liquidation judiciaire, article "
            "L. 641-3. À adresser au mandataire judiciaire dans les deux mois de la publication du jugement "
            "d’ouverture au BODACC. Jugement du : ........................", _SMALL),
        Spacer(0, 4 * mm),
        Paragraph(
            f"Au titre du contrat <b>{escape(claims.contract)}</b> (programme {escape(claims.programme)}), "
            f"{escape(claims.debtor)} détenait les chèques prépayés énumérés dans le fichier joint et devait en payer "
            "la contre-valeur aux structures de formation qui les ont acceptés. Constatant sa défaillance le "
            f"{in_full(claims.counted_on)}, le créancier soussigné déclare les créances échues suivantes, dont le "
            "détail est issu de son propre registre.", _TEXT),
        _kinds(claims),
        Spacer(0, 5 * mm),
        KeepTogether([
            Paragraph("Montant total de la créance déclarée", _HEADING),
            Paragraph(f"En chiffres : <b>{in_figures(claims.total.cents)}</b>", _TEXT),
            Paragraph(f"En lettres : <b>{in_words(claims.total.cents)}</b>", _TEXT),
            Paragraph(
                "Nature : chirographaire, sauf sûreté ou privilège à préciser ici : "
                f"{'.' * 60}<br/>Intérêts : aucun n’est déclaré.", _TEXT),
            Paragraph("Pièces jointes : répartition par structure (pages suivantes) ; fichier « creances.csv », une "
                      f"ligne par chèque. Empreinte SHA-256 du fichier :<br/>{claims.sha256}", _SMALL),
            Spacer(0, 6 * mm),
            Paragraph("Certifié sincère et véritable,<br/>Fait à .............................., le "
                      "..............................<br/>Nom, qualité et signature :", _TEXT),
        ]),
    ]  # fmt: skip


def _kinds(claims: Summary) -> Flowable:
    rows = [("Nature de la créance", "Chèques", "Montant")]
    amounts = {"unspent": claims.unspent, **{kind: claims.all_of(kind) for kind in ("declared", "undeclared")}}
    owed_to = {
        "unspent": "valeur prépayée, à restituer au créancier",
        "declared": "prestation rendue par la structure et déclarée à l’opérateur",
        "undeclared": "prestation rendue par la structure, l’opérateur ne répondant plus",
    }
    rows += [(f"{KINDS[kind]} : {owed_to[kind]}", *_cells(amount)) for kind, amount in amounts.items()]
    return _table([*rows, ("Total", *_cells(claims.total))], (104, 22, 40))


def _by_structure(claims: Summary) -> list[Flowable]:
    heading = Paragraph("Répartition par structure de formation", _HEADING)
    if not claims.structures:
        return [heading, Paragraph("Aucune utilisation n’est restée impayée.", _TEXT)]
    rows = [("Structure", "SIRET", "Déclarées", "", "Non déclarées", "", "Total")]
    for owed in claims.structures:
        total = in_figures((owed.declared + owed.undeclared).cents)
        rows.append((owed.name, owed.siret, *_cells(owed.declared), *_cells(owed.undeclared), total))
    declared, undeclared = claims.all_of("declared"), claims.all_of("undeclared")
    all_owed = declared + undeclared
    rows.append(("Total", "", *_cells(declared), *_cells(undeclared), in_figures(all_owed.cents)))
    return [
        heading,
        Paragraph("Chèques acceptés par chaque structure et impayés par l’opérateur, en nombre et en euros.", _TEXT),
        _table(rows, (40, 28, 15, 25, 13, 22, 23), spans=((2, 3), (4, 5))),
        Spacer(0, 3 * mm),
        Paragraph(f"Soit, pour l’ensemble des structures : <b>{in_words(all_owed.cents)}</b>.", _TEXT),
    ]  # fmt: skip


def _cells(amount: Amount) -> tuple[str, str]:
    return (f"{amount.number:,}".replace(",", "\u00a0"), in_figures(amount.cents))


def _table(
    rows: Sequence[Sequence[str]], widths_mm: Sequence[float], spans: Sequence[tuple[int, int]] = ()
) -> Flowable:
    texts = 2 if len(widths_mm) > 3 else 1
    last = len(rows) - 1
    cells = [
        [_cell(text, amount=column >= texts, bold=line in (0, last)) for column, text in enumerate(row)]
        for line, row in enumerate(rows)
    ]
    merged = [("SPAN", (first, 0), (end, 0)) for first, end in spans]
    kind = LongTable if len(rows) > 40 else Table
    return kind(cells, colWidths=[width * mm for width in widths_mm], repeatRows=1, style=[*_GRID, *merged])


def _cell(text: str, *, amount: bool, bold: bool) -> Paragraph:
    shown = f"<b>{escape(text)}</b>" if bold else escape(text)
    return Paragraph(shown, _AMOUNT if amount else _SMALL)


def _load_fonts() -> None:
    folder = Path(reportlab.__file__).parent / "fonts"
    for name in (_FONT, _BOLD):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
    pdfmetrics.registerFontFamily(_FONT, normal=_FONT, bold=_BOLD, italic=_FONT, boldItalic=_BOLD)
