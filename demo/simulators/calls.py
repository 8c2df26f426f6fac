"""What goes wrong with a call, for every simulator that answers by HTTP: before it is worked off, and after."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

from demo.simulators.faults import Faults

_REFUSALS = {"too_many": 429, "unavailable": 503}


def hinder(faults: Faults) -> ResponseReturnValue | None:
    """Waits where calls are slow; what is answered where the operator does nothing."""
    if faults.happens("slow"):
        time.sleep(faults.seconds("slow"))
    for name, status in _REFUSALS.items():
        if faults.happens(name):
            return jsonify(error=name), status, {"Retry-After": str(int(faults.seconds(name)))}
    return (jsonify(error="internal"), 500) if faults.happens("error") else None


def disturb(faults: Faults, results: list[Any]) -> list[Any]:
    """The outcomes of completed orders, one after the other."""
    if faults.happens("answer_twice"):
        results = [result for result in results for _ in range(2)]
    if faults.happens("out_of_order"):
        results = results[::-1]
    return results[::2] if faults.happens("half_an_answer") else results


def spoil(faults: Faults, answer: Response) -> ResponseReturnValue:
    """The answer to what was done, as it arrives."""
    if faults.happens("time_out_after_doing"):
        time.sleep(faults.seconds("time_out_after_doing"))
    if faults.happens("malformed_body"):
        return Response("<html>Bad gateway", content_type="application/json")
    if faults.happens("cut"):
        return cut_short(answer.get_data())
    return answer


def twice(answer: Response) -> Response:
    """An answer that is there twice on its connection, as if another request had been made."""
    body = answer.get_data()
    head = f"HTTP/1.1 {answer.status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    doubled = Response(iter((body, head.encode() + body)), status=answer.status, content_type="application/json")
    doubled.content_length = len(body)
    return doubled


def cut_short(body: bytes) -> Response:
    """An answer whose connection is cut in the middle."""
    shut = request.environ["werkzeug.socket"].shutdown
    half = Response(_half(body, shut), content_type="application/json")
    half.content_length = len(body)
    return half


def hang_up() -> Response:
    """What somebody who is dead answers: nothing, and the connection ends."""
    shut = request.environ["werkzeug.socket"].shutdown
    shut(2)
    return Response(status=503)


def _half(body: bytes, shut: Callable[[int], None]) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    shut(2)
