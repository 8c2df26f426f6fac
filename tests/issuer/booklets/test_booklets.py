"""What is handed over: booklets on paper and for a telephone, one by one and by the hundred."""

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pikepdf
import pytest
import zxingcpp
from PIL import Image
from pypdf import PdfReader
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from services.issuer.booklets import booklet, printing
from services.issuer.booklets.booklet import Booklet, Face, Spot
from services.issuer.cheques.codes import Codes
from shared.values import cheque_code, clock
from shared.values.ids import new_id
from tests.issuer.neighbourhood import affiliated, contract
from tests.issuer.office import ALICE, Office, cancelled, expired, ids, problem, redeemed, registered


@pytest.fixture
def desk(office: Office) -> Office:
    """An office with money of two funders."""
    office.envelope(3000, funder="CAF", priority=1)
    office.envelope(1_000_000, funder="État", priority=2)
    return office


def paper(office: Office, grant: Any, per_page: int = 5, scope: Any = None) -> TestResponse:
    """The answer to a prescriber who prints."""
    path = f"/v1/grants/{grant['grant_id']}/booklet.pdf?per_page={per_page}"
    return office.get(path, "prescriber", scope or office.prescriber)


def phone(office: Office, grant: Any, scope: Any = None) -> TestResponse:
    """The answer to a prescriber who makes the page for a telephone."""
    return office.get(f"/v1/grants/{grant['grant_id']}/booklet.html", "prescriber", scope or office.prescriber)


def texts(document: bytes) -> list[str]:
    """The text of each page, in the order in which it is read, with plain spaces."""
    pages = PdfReader(io.BytesIO(document)).pages
    return [re.sub(r"\s+", " ", page.extract_text()) for page in pages]


def codes(grant: Any) -> list[str]:
    """The printed codes of a grant."""
    return [cheque["code"] for cheque in grant["cheques"]]


def seen(modules: str, size: int) -> str:
    """What a reader sees in the outline of a QR code, drawn as a picture."""
    picture = Image.new("L", (size, size), 255)
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", modules):
        for dark in range(int(length)):
            picture.putpixel((int(x) + dark, int(y)), 0)
    framed = Image.new("L", (size + 8, size + 8), 255)
    framed.paste(picture, (4, 4))
    [found] = zxingcpp.read_barcodes(framed.resize(((size + 8) * 6,) * 2, Image.Resampling.NEAREST))
    return found.text


def test_a_printed_booklet_is_accessible_and_says_all_that_its_holder_needs(desk: Office) -> None:
    grant = desk.grant(beneficiary=ALICE)
    answer = paper(desk, grant)
    assert (answer.status_code, answer.content_type) == (200, "application/pdf")
    assert answer.headers["Cache-Control"] == "no-store"

    with pikepdf.open(io.BytesIO(answer.data)) as document:
        assert document.docinfo["/Title"] == "Carnet de chèques Pass numérique"
        assert document.Root["/Lang"] == "fr-FR"
        assert document.Root["/MarkInfo"]["/Marked"]
        assert b"<pdfuaid:part>1<" in document.Root.Metadata.read_bytes()
    explained, cheques = texts(answer.data)
    told = [
        "Pass numérique", "5 chèques de 10 €", "jusqu’au", "C’est quoi ?", "Comment faire ?", "« J’ai des chèques",
        "Chèque perdu ou volé ?", "CCAS, 1 rue de la Mairie, 47000 Agen", "Où aller ?", "Financé par : CAF, État",
    ]  # fmt: skip
    places = [explained.index(one) for one in told]
    assert places == sorted(places)
    assert [cheques.index(code) for code in codes(grant)] == sorted(cheques.index(code) for code in codes(grant))
    assert cheques.count("10 €") == 10  # each cheque and its stub
    assert cheques.count("Financé par : CAF") == 3
    for word in (*ALICE.values(), "Zéphyrine", "Aliénor", grant["reason"]):
        assert word not in explained + cheques


@pytest.mark.parametrize("per_page", range(1, 11))
def test_so_many_cheques_are_on_a_page_as_were_asked(desk: Office, per_page: int) -> None:
    grant = desk.grant(amount_cents=10_000)
    _, *pages = texts(paper(desk, grant, per_page).data)

    found = [sum(code in page for code in codes(grant)) for page in pages]
    whole, rest = divmod(10, per_page)
    assert found == [per_page] * whole + ([rest] if rest else [])


@pytest.mark.parametrize("per_page", [1, 3, 5, 6, 8, 10])
def test_long_names_and_amounts_are_set_smaller_and_stay_on_their_cheque(per_page: int) -> None:
    """The last line above the code is well above it: nothing is set over another."""
    code = cheque_code.printed(cheque_code.generate())
    until, funder = "30 septembre 2027", "Caisse d’allocations familiales et Conférence des financeurs " * 3
    face = Face(1, booklet.euros(123_450), until, funder, code, *booklet.qr(cheque_code.normalise(code)))
    spot = Spot(
        "Centre social et culturel intercommunal de la communauté d’agglomération", ("1 rue", "47000 Agen"), None
    )
    made = Booklet(
        number="7F3A-19C2", programme="Programme départemental d’accompagnement numérique " * 4, purpose="x", holds="x",
        amount="x", until=until, count=10, prescriber=spot, places=(spot,) * 6, notes=(), funders=funder,
        cheques=(face,) * 10,
    )  # fmt: skip
    pages = PdfReader(io.BytesIO(printing.pdf([made], per_page, clock.now()))).pages
    assert len(pages) == 1 + -(-10 // per_page)
    heights: list[tuple[str, float]] = []

    def note(text: str, page: Any, line: Any, *_: Any) -> None:
        if text.strip():
            heights.append((re.sub(r"\s", " ", text), float(page[3] * line[5] + page[5])))

    pages[1].extract_text(visitor_text=note)
    codes_at = [y for text, y in heights if code in text]
    until_at = [y for text, y in heights if until in text]
    assert len(codes_at) == len(until_at) == min(per_page, 10)
    assert all(low + 11 < high for low, high in zip(codes_at, until_at, strict=True))


@pytest.mark.parametrize("per_page", [0, 11])
def test_no_page_takes_none_or_more_than_ten(desk: Office, per_page: int) -> None:
    assert problem(paper(desk, desk.grant(), per_page))[0] == 422


def test_a_qr_code_holds_the_code_and_nothing_else() -> None:
    for code in (cheque_code.generate() for _ in range(100)):
        assert seen(*booklet.qr(code)) == code


def test_a_booklet_made_again_leaves_out_what_cannot_be_used_and_says_why(desk: Office) -> None:
    grant = desk.grant()
    first, second, third, fourth, _ = ids(grant)
    desk.tell(redeemed([first]), expired([second]))
    blocked = desk.post("/v1/blocks", {"cheque_ids": [third], "reason": "Lost."}, "prescriber", desk.prescriber)
    assert blocked.status_code < 300
    cancellation = desk.made(
        desk.post("/v1/cancellations", {"cheque_ids": [fourth], "reason": "Mistake."}, "admin"), 202
    )
    desk.tell(cancelled(cancellation["cancellation_id"], [fourth]))

    explained, cheques = texts(paper(desk, grant).data)
    page = phone(desk, grant).text
    assert "1 chèque de 10 €" in explained
    assert (
        "Ce carnet avait 5 chèques. Ne sont plus dedans : 1 bloqué, 1 annulé, 1 trop ancien, 1 déjà utilisé"
        in explained
    )
    assert "Chèque 5 sur 5" in cheques
    for code in codes(grant)[:4]:
        assert code not in explained + cheques
        assert code.partition("-")[0] not in page
    assert codes(grant)[4] in cheques


def test_a_booklet_without_a_usable_cheque_is_not_made(desk: Office) -> None:
    grant = desk.grant()
    desk.tell(redeemed(ids(grant)))
    assert problem(paper(desk, grant)) == (409, "nothing-to-print")
    assert problem(phone(desk, grant)) == (409, "nothing-to-print")
    assert problem(prints(desk, grant_ids=[grant["grant_id"]])) == (409, "nothing-to-print")


def test_cheques_that_wait_for_an_operator_say_so(empty_office: Office) -> None:
    empty_office.programme(spendable="on_registration")
    empty_office.envelope(10_000)
    grant = empty_office.grant()
    assert "Attendez quelques jours" in texts(paper(empty_office, grant).data)[0]
    empty_office.tell(registered(ids(grant)))
    assert "Attendez" not in texts(paper(empty_office, grant).data)[0]


def test_a_programme_says_in_its_own_words_what_its_cheques_pay(empty_office: Office) -> None:
    empty_office.programme(name="Ordi collège", purpose="Ce chèque paie un ordinateur pour le collège.")
    empty_office.envelope(10_000)
    grant = empty_office.grant()
    assert "Ce chèque paie un ordinateur" in texts(paper(empty_office, grant).data)[0]
    assert "Ce chèque paie un ordinateur" in phone(empty_office, grant).text


def test_what_people_typed_is_text_on_the_page_and_on_paper(empty_office: Office) -> None:
    empty_office.programme(name='#panic() <script>alert("x")</script>')
    empty_office.envelope(10_000)
    grant = empty_office.grant()
    assert '#panic() <script>alert("x")</script>' in texts(paper(empty_office, grant).data)[0]
    assert "<script" not in phone(empty_office, grant).text


def test_only_the_prescriber_who_granted_and_the_team_print(desk: Office) -> None:
    grant = desk.grant()
    other = desk.prescriber_named("mairie")
    for answer in (paper(desk, grant, scope=other), phone(desk, grant, other)):
        assert problem(answer) == (404, "not-found")
    assert problem(prints(desk, other, grant_ids=[grant["grant_id"]])) == (404, "not-found")
    assert desk.get(f"/v1/grants/{grant['grant_id']}/booklet.pdf").status_code == 200


def test_the_page_for_a_telephone_stands_by_itself_and_runs_nothing(desk: Office) -> None:
    grant = desk.grant(beneficiary=ALICE)
    answer = phone(desk, grant)
    page, policy = answer.text, answer.headers["Content-Security-Policy"]

    assert answer.headers["Content-Disposition"] == 'attachment; filename="carnet.html"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in policy
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert digest in page.replace("&#43;", "+").replace("&#34;", '"')  # the policy holds for the saved file too
    assert '<html lang="fr">' in page
    assert not re.search(r"<script|<img|<link|<iframe|<form|src=|style=|https?://|url\(|@import", page)
    assert set(re.findall(r'href="(\w*:|#)', page)) <= {"#", "tel:"}
    for word in ALICE.values():
        assert word not in page


def test_the_page_shows_each_cheque_with_a_qr_code_that_can_be_read(desk: Office) -> None:
    grant = desk.grant()
    page = phone(desk, grant).text
    drawn = re.findall(r'viewBox="-4 -4 (\d+) \d+".*?<path d="([^"]+)"', page)
    shown = [re.sub("<.*?>", "", one) for one in re.findall(r'<p class="code">(.*?)</p>', page)]

    assert shown == codes(grant)
    assert [seen(modules, int(size) - 8) for size, modules in drawn] == list(map(cheque_code.normalise, codes(grant)))


def test_a_booklet_lists_the_nearest_places(desk: Office) -> None:
    contract_id = new_id()
    desk.tell(contract(contract_id), affiliated(contract_id, "Atelier du Pont", phone="+33536490001"))
    grant = desk.grant()
    printed, page = texts(paper(desk, grant).data)[0], phone(desk, grant).text
    assert "Atelier du Pont 2 rue du Pont 47000 Agen Téléphone : 05 36 49 00 01" in printed
    assert 'href="tel:0536490001"' in page


def prints(office: Office, scope: Any = None, **selection: Any) -> TestResponse:
    """The answer to a prescriber who prints many booklets."""
    return office.post("/v1/booklets", selection, "prescriber", scope or office.prescriber)


def test_many_booklets_are_one_accessible_file_in_the_order_asked(desk: Office) -> None:
    grants = [desk.grant() for _ in range(printing.BATCH_SIZE + 2)]
    asked = [grant["grant_id"] for grant in reversed(grants)]
    answer = prints(desk, grant_ids=asked, per_page=10)

    assert (answer.status_code, answer.content_type) == (200, "application/pdf")
    pages = texts(answer.data)
    assert len(pages) == 2 * len(grants)
    for at, grant in enumerate(reversed(grants)):
        assert booklet.number(UUID(grant["grant_id"])) in pages[2 * at]
        assert all(code in pages[2 * at + 1] for code in codes(grant))
    with pikepdf.open(io.BytesIO(answer.data)) as document:
        assert document.docinfo["/Title"] == "Carnets de chèques Pass numérique"
        assert len(document.Root.StructTreeRoot.K[0].K) == 2


def test_booklets_are_chosen_by_programme_and_day_of_grant(desk: Office) -> None:
    desk.programme("other", name="Autre")
    desk.envelope(100_000, "other")
    old = desk.grant(granted_on="2026-01-10")
    new = desk.grant()
    desk.grant(programme="other")

    def numbers(**selection: Any) -> list[str]:
        found = re.findall(r"Carnet ([0-9A-F]{4}-[0-9A-F]{4})", " ".join(texts(prints(desk, **selection).data)))
        return list(dict.fromkeys(found))

    of = {grant["grant_id"]: booklet.number(UUID(grant["grant_id"])) for grant in (old, new)}
    assert numbers(programme="pass") == list(of.values())
    assert numbers(programme="pass", granted_until="2026-01-31") == [of[old["grant_id"]]]
    assert numbers(programme="pass", granted_from="2026-01-31") == [of[new["grant_id"]]]


@pytest.mark.parametrize("selection", [{}, {"grant_ids": []}, {"grant_ids": [str(new_id())], "programme": "pass"}])
def test_what_to_print_is_said_in_one_way(desk: Office, selection: Any) -> None:
    assert problem(prints(desk, **selection))[0] == 422


def test_a_portion_is_read_only_when_the_one_before_has_been_sent(desk: Office) -> None:
    grants = [UUID(desk.grant()["grant_id"]) for _ in range(2 * printing.BATCH_SIZE + 1)]
    opened = []

    @contextmanager
    def transaction() -> Iterator[Session]:
        opened.append(1)
        with desk.service.runtime.transaction() as session:
            yield session

    pieces = printing.stream(transaction, Codes(desk.service.settings.keys), grants, 10)
    assert next(pieces).startswith(b"%PDF")
    counts = [len(opened) for _ in pieces]
    assert counts[:3] == [1, 2, 3]
    assert len(opened) == 3


def test_a_lost_booklet_is_found_by_its_number(desk: Office) -> None:
    grant = desk.grant()
    number = booklet.number(UUID(grant["grant_id"]))
    assert number in texts(paper(desk, grant).data)[0]

    def found(scope: Any) -> list[str]:
        answer = desk.get(f"/v1/booklets?number={number.lower()}", "prescriber", scope)
        return [item["grant_id"] for item in desk.made(answer, 200)["items"]]

    assert found(desk.prescriber) == [grant["grant_id"]]
    assert found(desk.prescriber_named("mairie")) == []


@pytest.mark.slow
def test_a_lot_is_printed_as_one_file(desk: Office) -> None:
    desk.made(desk.post("/v1/lots", {"code": "autumn", "name": "Automne", "programme": "pass"}))
    grant = desk.grant(lot="autumn")
    desk.grant()
    answer = prints(desk, lot="autumn")
    assert [code in texts(answer.data)[1] for code in codes(grant)] == [True] * 5
    assert len(texts(answer.data)) == 2
