"""What the benchmarks stand on: a durable server, a load that notices what it is answered, statements as they are."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import statements, till
from benchmarks.load import Clients, Refused, post
from benchmarks.machine import NotDurable, check_durable
from demo.stack.embedded import EmbeddedPostgres
from shared.values.ids import new_id

REQUEST = post("/v1/anything", b'{"codes": []}', {"Idempotency-Key": "1"})


class _Accepting(BaseHTTPRequestHandler):
    """Answers 201 and keeps the connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"status": "accepted"}'
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Accepting)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_may_lose_what_it_confirmed_is_not_measured(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(NotDurable, match="fsync"):
        check_durable(postgres.url())


def test_a_load_counts_each_answer_once_however_it_is_sent(port: int) -> None:
    clients = Clients(port, 4)
    flat_out, paced = clients.flat_out([REQUEST] * 50), clients.paced([REQUEST] * 20, 200.0)
    clients.close()
    assert (flat_out.answers, len(flat_out.times), paced.answers) == (50, 50, 20)
    assert paced.seconds >= 19 / 200


def test_a_load_stops_at_the_first_answer_that_is_another_than_expected(port: int) -> None:
    clients = Clients(port, 1, expected=202)
    with pytest.raises(Refused, match="accepted"):
        clients.flat_out([REQUEST])
    clients.close()


def test_pgbench_is_given_the_statement_of_a_redemption_whole() -> None:
    script = till.script()
    assert "%(" not in script
    assert "INSERT INTO audit_entry" in script
    assert "INSERT INTO event" in script


def test_identifiers_are_fresh_each_time_and_the_same_within_a_transaction() -> None:
    first, second, constant = new_id(), new_id(), new_id()
    said: list[statements.Said] = [
        [("INSERT %(id)s %(of)s", {"id": one, "of": constant}), ("SELECT %(key)s", {"key": str(one)})]
        for one in (first, second)
    ]
    script = statements.script(*said)
    assert str(second) not in script
    assert script.count(":n::bigint + 0") == 2
    assert constant.hex in script.replace("-", "")


def test_a_colon_in_a_text_is_no_variable_of_pgbench() -> None:
    said: statements.Said = [("SELECT %(caller)s", {"caller": "prescriber:ab12"})]
    assert "'prescriber\\x3aab12'" in statements.script(said, said)


def test_requests_that_say_different_things_are_not_compared() -> None:
    with pytest.raises(statements.Differ):
        statements.script([("SELECT 1", {})], [("SELECT 2", {})])
