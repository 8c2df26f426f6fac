"""A load of HTTP requests that costs little of the machine that it shares with what it measures.

Requests are bytes, made beforehand. One thread holds a kept-alive connection for each client and does no more than
send, wait for whichever answers first, look at its status and length, and send the next. `Load.cpu_seconds` says what
that took. The libraries that do such things spend more on a request than the server under test does, and the programs
that do not (wrk, oha) are on few machines.

`flat_out`: each client sends its next request when it was answered. `paced`: requests are due at a constant rate, and
an answer's time counts from when its request was due, whether a client was free to send it or not.
"""

import math
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_PIECE = 65536


class Refused(Exception):
    """An answer was not the expected one; the text is the answer."""


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A POST request of JSON as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Load:
    """What came of a load; times in seconds."""

    answers: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """What the load itself took of a core."""
    times: list[float] = field(default_factory=list)
    """From the sending of a request, or from when it was due, to the last byte of its answer."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    def quantile(self, part: float) -> float:
        """The time within which this part of the requests was answered."""
        return sorted(self.times)[min(len(self.times) - 1, int(len(self.times) * part))]


@dataclass
class _Client:
    connection: socket.socket
    since: float = 0.0
    received: bytes = b""

    def send(self, request: bytes, since: float) -> None:
        self.since, self.received = since, b""
        self.connection.sendall(request)

    def answered(self, expected: bytes) -> bool:
        """Takes what arrived; whether that completes the answer. Raises Refused where it is another than expected."""
        self.received += self.connection.recv(_PIECE)
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            if not self.received:
                raise Refused("the connection was closed")
            return False
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return False
        if self.received[9:12] != expected:
            raise Refused(self.received.decode(errors="replace"))
        return True


class Clients:
    """So many clients of one address, each with a connection of its own."""

    def __init__(self, port: int, number: int, expected: int = 201) -> None:
        self._expected = str(expected).encode()
        self._selector = selectors.DefaultSelector()
        self._clients = [_Client(_connected(port)) for _ in range(number)]
        for client in self._clients:
            self._selector.register(client.connection, selectors.EVENT_READ, client)

    def close(self) -> None:
        """Hangs up."""
        self._selector.close()
        for client in self._clients:
            client.connection.close()

    def flat_out(self, requests: Iterable[bytes], seconds: float = math.inf) -> Load:
        """As many of these as go in so many seconds; raises Refused at the first answer that is not as expected."""
        load, cpu, rest = Load(), time.process_time(), iter(requests)
        began = time.perf_counter()
        waiting = sum(_send_next(client, rest, began) for client in self._clients)
        while waiting:
            for client in self._answered(None):
                now = time.perf_counter()
                load.times.append(now - client.since)
                waiting -= not (now - began < seconds and _send_next(client, rest, now))
        load.answers, load.seconds = len(load.times), time.perf_counter() - began
        load.cpu_seconds = time.process_time() - cpu
        return load

    def paced(self, requests: Sequence[bytes], rate: float) -> Load:
        """All of these, so many a second."""
        load, cpu = Load(), time.process_time()
        began = time.perf_counter()
        due = deque((began + number / rate, request) for number, request in enumerate(requests))
        idle = deque(self._clients)
        while len(load.times) < len(requests):
            while due and idle and due[0][0] <= time.perf_counter():
                since, request = due.popleft()
                idle.popleft().send(request, since)
            wait = max(0.0, due[0][0] - time.perf_counter()) if due and idle else None
            for client in self._answered(wait):
                load.times.append(time.perf_counter() - client.since)
                idle.append(client)
        load.answers, load.seconds = len(load.times), time.perf_counter() - began
        load.cpu_seconds = time.process_time() - cpu
        return load

    def _answered(self, wait: float | None) -> Iterator[_Client]:
        for key, _ in self._selector.select(wait):
            client: _Client = key.data
            if client.answered(self._expected):
                yield client


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 30.0)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _send_next(client: _Client, rest: Iterator[bytes], now: float) -> bool:
    request = next(rest, None)
    if request is not None:
        client.send(request, now)
    return request is not None
