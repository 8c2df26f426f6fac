"""An operator that was taken over answers with what should fill our memory, our time or our stack: it gets an error."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.operator_bridge.adapter_kit import csv_files, mapping
from services.operator_bridge.adapter_kit import http as calling
from services.operator_bridge.adapter_kit.http import Client, ClientCredentials
from services.operator_bridge.interface import NoAnswer, OperatorUnavailable, Period, Unreadable
from services.operator_bridge.operators.docaposte import Adapter
from services.operator_bridge.operators.govstack import _integer

Answer = Callable[[BaseHTTPRequestHandler], None]
SECONDS = 0.5


@contextmanager
def operator(answer: Answer) -> Iterator[str]:
    """An operator that answers whatever it is asked in this way; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            try:
                answer(self)
            except OSError:
                self.close_connection = True  # we hung up: that is what is wanted

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """What it thinks of us is not looked at."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def whole(body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65_536)


def dripping(handler: BaseHTTPRequestHandler) -> None:
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(SECONDS / 10)


def cut_short(handler: BaseHTTPRequestHandler) -> None:
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"{}")
    handler.close_connection = True


HOSTILE = {
    "endless": endless,
    "dripping": dripping,
    "cut short": cut_short,
    "a bomb": whole(gzip.compress(b" " * 200_000_000, 1), Content_Encoding="gzip"),
    "a nest": whole(b"[" * 100_000 + b"]" * 100_000),
    "a long number": whole(b"9" * 100_000),
    "broken text": whole(b'{"a": "\xff"}'),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_has_no_end_or_no_measure_is_no_answer(answer: Answer) -> None:
    with operator(answer) as address:
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            Client(address, SECONDS).post("/v1/operations", {})
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_a_token_that_has_no_end_or_no_measure_is_an_operator_that_is_not_there(answer: Answer) -> None:
    with operator(answer) as address, pytest.raises(OperatorUnavailable):
        ClientCredentials(address, "us", "secret", SECONDS).token()


def test_an_answer_is_taken_as_long_as_it_is_within_measure() -> None:
    body = json.dumps({"results": ["x" * 1_000] * 1_000}).encode()
    with operator(whole(body)) as address:
        client = Client(address, SECONDS)
        assert [len(client.get("/a")["results"]) for _ in range(3)] == [1_000] * 3


def statement(address: str) -> Adapter:
    given = {"URL": address, "CLIENT_ID": "us", "CLIENT_SECRET": "x", "WEBHOOK_SECRETS": "x", "TIMEOUT_SECONDS": "2"}
    return Adapter(given)


@pytest.mark.parametrize("cursor", ['"again"', '{"a": 1}', "7", '"' + "x" * 5_000 + '"'])
def test_a_statement_whose_pages_go_in_circles_ends(cursor: str) -> None:
    page = f'{{"access_token": "t", "lines": [], "next": {cursor}}}'
    with operator(whole(page.encode())) as address, pytest.raises(NoAnswer, match="page"):
        list(statement(address).fetch(Period("contract")))


def test_a_statement_with_a_new_page_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter(range(10**9))

    def answer(handler: BaseHTTPRequestHandler) -> None:
        whole(json.dumps({"access_token": "t", "lines": [], "next": str(next(asked))}).encode())(handler)

    monkeypatch.setattr(calling, "_MAX_PAGES", 20)
    with operator(answer) as address, pytest.raises(NoAnswer, match="never end"):
        list(statement(address).fetch(Period("contract")))
    assert next(asked) < 30


def test_a_voucher_number_that_takes_minutes_to_read_is_none() -> None:
    with pytest.raises(Unreadable):
        _integer("9" * 100_000)


def test_a_file_with_a_line_without_end_is_unreadable_and_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "REL.csv"
    with path.open("wb") as file:
        file.write(b"type;contrat\ncheque;")
        file.seek(3_000_000_000)  # a hole: it takes no room on the disk
        file.write(b"\nFIN;1\n")
    with pytest.raises(Unreadable):
        list(csv_files.read(path, "FIN"))


def test_json_of_any_kind_that_we_have_use_for_is_read() -> None:
    assert mapping.document(b'{"a": [1, 2.5, null, "\\u00e9"]}') == {"a": [1, 2.5, None, "é"]}
