"""Whatever is sent is read, or refused with the declared error, in no time: files, messages, codes, tokens, keys."""

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.issuer.grants import bulk_csv
from services.operator_bridge.adapter_kit import csv_files, lookup, mapping
from services.operator_bridge.interface import (
    BadSignature,
    ChequeStatus,
    Operator,
    OperatorUnavailable,
    Paid,
    Period,
    Receipt,
    Redeemed,
    Unreadable,
)
from services.redeemer.payments import payment_file
from shared.access import tokens
from shared.places.reader import PlacesFileRefused, read_places
from shared.problems import Invalid, Problem, Unauthenticated
from shared.settings import settings
from shared.settings.settings import ConfigurationError
from shared.values import cheque_code
from tests.harness import ServiceUnderTest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CELLS = st.text(alphabet="aé1 ,;|\"'=\n\r\0\ud800٣½²", max_size=12)
CSV = st.lists(st.lists(CELLS, max_size=6), max_size=6).map(lambda rows: "\n".join(";".join(row) for row in rows))
FILE = st.binary(max_size=300) | CSV.map(lambda text: text.encode("utf-8", "surrogatepass"))
HEADS = {
    "places": b"id,pivot,nom,commune,code_postal,code_insee,adresse,date_maj\n",
    "grants": b"programme;amount_cents;reason;reference;family_name;birth_date\n",
    "payments": b"statement;amount;paid_on;reference;siret\n",
}
READERS: dict[str, tuple[Callable[[bytes], object], type[Exception]]] = {
    "places": (read_places, PlacesFileRefused),
    "grants": (lambda content: list(bulk_csv.of_csv(content)), Problem),
    "payments": (payment_file.read, Invalid),
}
BIG = 4_000_000

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def in_no_time(seconds: float = 3.0) -> Iterator[None]:
    """Fails where the block takes longer, in the time of this thread alone."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < seconds


@pytest.mark.parametrize("kind", READERS)
@given(FILE)
def test_a_file_is_read_or_refused(kind: str, content: bytes) -> None:
    read, refusal = READERS[kind]
    for whole in (content, HEADS[kind] + content):
        with contextlib.suppress(refusal):
            read(whole)


def zipped(depth: int) -> bytes:
    """A file within a file within a file, of zeros."""
    content = b"\0" * 1_000_000
    for _ in range(depth):
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x", content)
        content = written.getvalue()
    return content


BOMBS = {
    "a line without end": b"a" * BIG,
    "as many columns": b"," * BIG,
    "as many columns, otherwise": b";x" * (BIG // 2),
    "as many lines": b"\n" * BIG,
    "lines that say something": b"x\n" * (BIG // 2),
    "a quote that is never closed": b'"' + b"a\n" * (BIG // 2),
    "quotes alone": b'"' * BIG,
    "quotes that never match": b'"a";"' * (BIG // 6),
    "spaces": b" " * BIG,
    "digits": b"9" * BIG,
    "a packed file": zipped(1),
    "packed files in packed files": zipped(4),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("kind", READERS)
def test_a_bomb_is_refused_in_no_time_and_in_few_words(kind: str, bomb: str) -> None:
    read, refusal = READERS[kind]
    for content in (BOMBS[bomb], HEADS[kind] + BOMBS[bomb]):
        with in_no_time(5.0):
            try:
                read(content)
            except refusal as refused:
                said = json.dumps(refused.body()) if isinstance(refused, Problem) else str(refused)
                assert len(said) < 3000


@given(st.text(max_size=60) | st.text(alphabet="0123456789ABCDEFGHJKMNPQRSTVWXYZoil- \u202f", max_size=30))
def test_a_code_is_read_or_refused_without_being_repeated(typed: str) -> None:
    try:
        said = cheque_code.normalise(typed)
    except cheque_code.InvalidCode as refusal:
        said = str(refusal)
    assert len(said) == 17 or len(typed) < 8 or typed not in said


@pytest.mark.parametrize("text", ["A" * BIG, "A-" * (BIG // 2), "1 " * (BIG // 2), "0123-" * (BIG // 5)])
def test_a_text_is_searched_for_codes_in_no_time(text: str) -> None:
    short = text[:20_000]  # more than any text that is taken
    with in_no_time():
        cheque_code.stands_in(short)
        cheque_code.mask(short)


SETTINGS = {
    "docaposte": {
        "URL": "http://127.0.0.1:1", "CLIENT_ID": "i", "CLIENT_SECRET": "s", "TIMEOUT_SECONDS": "1",
        "WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    },
    "govstack": {
        "URL": "http://127.0.0.1:1", "TIMEOUT_SECONDS": "1",
        "API_KEY": "k", "VOUCHER_GROUP": "g", "BUILDING_BLOCK": "b",
    },
    "aptic": {"FOLDER": "/nonexistent"},
    "regie": {},
}  # fmt: skip


@pytest.fixture(params=lookup.codes())
def operator(request: pytest.FixtureRequest) -> Operator:
    return lookup.adapter(request.param)(SETTINGS[request.param])


@given(
    st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text(max_size=40)),
    st.binary(max_size=200),
)
def test_a_message_that_is_not_signed_is_refused(operator: Operator, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(BadSignature):
        operator.parse(headers, body)


_NAMES = ("reference", "cheque", "structure", "amount_cents", "redeemed_at", "paid_on", "redemptions", "outcome")
MEMBERS = st.fixed_dictionaries({}, optional=dict.fromkeys(_NAMES, JSON))


@given(
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.sampled_from(["redemption.made", "payment.made", "?"]), JSON | MEMBERS).map(
        lambda pair: json.dumps({"type": pair[0], "data": pair[1]}).encode()
    )
)
def test_a_signed_message_is_read_or_unreadable(operator: Operator, body: bytes) -> None:
    with contextlib.suppress(Unreadable):
        operator.read(body)


@pytest.mark.parametrize("kind", [Receipt, Redeemed, Paid, ChequeStatus])
@given(JSON | MEMBERS)
def test_a_line_of_a_statement_is_read_or_unreadable(kind: type, value: object) -> None:
    with contextlib.suppress(Unreadable):
        mapping.reader(kind)(value)


@given(st.text(max_size=30) | st.from_regex(r"-?[0-9]{1,5}([.,][0-9]{0,3})?([eE][-+]?[0-9]{1,7})?", fullmatch=True))
@example("1e999999999")
@example("9e999999")
@example("1e99999")
@example("9" * 5000)
@example("0e-99999999")
@example("sNaN")
def test_an_amount_is_cents_or_unreadable(amount: str) -> None:
    with in_no_time(0.5), contextlib.suppress(Unreadable):
        assert 0 <= mapping.cents(amount) <= 1_000_000_000


@given(FILE)
@example(b"a;b\n1;2\nFIN;1\n")
@example(b"\n\n1;2\nFIN;1\n")
def test_a_file_of_an_operator_is_read_or_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.csv"
    for whole in (content, content + b"\nFIN;1\n"):
        path.write_bytes(whole)
        with contextlib.suppress(Unreadable):
            list(csv_files.read(path, "FIN"))


DIGITS = "9" * 5000
LINE = "type;reference;contrat;cheque;statut;montant;date;resultat"


@given(
    CSV
    | st.lists(st.tuples(st.sampled_from(["acquittement", "cheque", "remboursement", "paiement", "?"]), CELLS)).map(
        lambda rows: "\n".join(
            f"{kind};{text};contract;{text};{text};{'9' * 5000};{text};accepte" for kind, text in rows
        )
    )
)
def test_a_statement_in_files_is_read_or_unreadable(tmp_path: Path, text: str) -> None:
    (tmp_path / "retour").mkdir(exist_ok=True)
    operator = lookup.adapter("aptic")({"FOLDER": str(tmp_path)})
    content = f"{LINE}\n{text}\nFIN;{text.count(chr(10)) + 1}\n".encode("utf-8", "replace")
    for name in ("ACC-20260101T000000000000Z.csv", "REL-20260101T000000000000Z.csv"):
        (tmp_path / "retour" / name).write_bytes(content)
    with contextlib.suppress(Unreadable, OperatorUnavailable):
        list(operator.fetch(Period("contract", datetime(2020, 1, 1, tzinfo=UTC))))
    with contextlib.suppress(OperatorUnavailable):
        operator.statement_date("contract")


def refused(issuer: ServiceUnderTest, token: str) -> None:
    """Asks with a token, which must be refused."""
    verifier: tokens.Verifier = issuer.app.extensions["souche"].verifier
    with pytest.raises(Unauthenticated):
        verifier.caller(token)


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")))
def test_what_is_no_token_is_refused(issuer: ServiceUnderTest, token: str) -> None:
    refused(issuer, token)


@given(st.dictionaries(st.sampled_from(["kid", "typ", "crit", "b64", "zip"]), JSON), JSON)
def test_a_token_that_somebody_made_up_is_refused(
    issuer: ServiceUnderTest, head: dict[str, object], claims: object
) -> None:
    kid = next(iter(issuer.settings.token_public_keys))
    body = claims if isinstance(claims, dict) else {"sub": str(claims)}
    for names in (head, head | {"kid": kid}):
        kept = {name: value for name, value in names.items() if name not in ("kid", "b64") or isinstance(value, str)}
        with contextlib.suppress(TypeError, ValueError, jwt.PyJWTError):  # what cannot even be written
            refused(issuer, jwt.encode(body, "a secret that is long enough for it", headers=kept))


@given(
    st.dictionaries(st.text(st.characters(codec="latin-1"), max_size=3), st.text(max_size=20), max_size=3), st.data()
)
def test_settings_are_read_or_named(environ: dict[str, str], more: dict[str, str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(environ)))
    changed = dict(environ) | more | {name: data.draw(st.text(max_size=40))}
    with contextlib.suppress(ConfigurationError):
        settings.load("issuer", changed)


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=300))
def test_a_key_of_a_request_is_taken_or_refused(redeemer: ServiceUnderTest, key: str) -> None:
    headers = redeemer.headers("admin") | {"Idempotency-Key": key}
    body = {"provider": "p", "subject": str(time.monotonic_ns()), "role": "admin"}
    answer = redeemer.app.test_client().post("/v1/memberships", json=body, headers=headers)
    assert answer.status_code in (201, 422), answer.text


QUERIES = [
    ("issuer", "/v1/reports/conventions?as_of={}"),
    ("issuer", "/v1/grants?after={}"),
    ("issuer", "/v1/grants?limit={}"),
    ("issuer", "/v1/grants/export.csv?from={}"),
    ("issuer", "/v1/grants/export.csv?programme={}"),
    ("issuer", "/v1/lots/{}"),
    ("issuer", "/v1/programmes/{}/rules/1"),
    ("issuer", "/v1/audit?from={}"),
    ("redeemer", "/v1/statements?month={}"),
    ("redeemer", "/v1/late-payments?on={}"),
    ("redeemer", "/v1/redemptions/export.csv?to={}"),
    ("operator_bridge", "/v1/daily-balances?from={}"),
    ("operator_bridge", "/v1/orders?stuck={}"),
]
DAYS = st.from_regex(r"[0-9]{1,5}-[0-9]{1,2}(-[0-9]{1,2})?(T[0-9:]{1,8}(Z|[+-][0-9]{2}:?[0-9]{2})?)?", fullmatch=True)


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_a_query_is_answered_or_refused(service: Callable[[str], ServiceUnderTest], name: str, query: str) -> None:
    asked = service(name)

    @given(st.text(max_size=20) | DAYS | st.integers().map(str))
    @example("9999-12-31")
    @example("0001-01-01")
    @example("\0")
    @example("9" * 5000)
    def ask(value: str) -> None:
        quoted = "".join(f"%{byte:02X}" for byte in value.encode("utf-8", "surrogatepass"))
        answer = asked.app.test_client().get(query.format(quoted), headers=asked.headers("admin"))
        assert answer.status_code in (200, 308, 400, 404, 422), (value, answer.text)

    ask()
