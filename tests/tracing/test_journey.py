"""A grant as the traces tell it: from the prescriber's request over queues and logs to the operator's answer."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from shared.settings.settings import SERVICES
from tests.faults.town import Town, eventually, town
from tests.tracing.receiver import Received, Seen, collecting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def traced() -> Iterator[tuple[Town, Received]]:
    with collecting() as received, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.address)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        patch.setenv("LOG_LEVEL", "INFO")
        with town(0.02) as place:
            yield place, received


@pytest.fixture(scope="module")
def granted(traced: tuple[Town, Received]) -> dict[str, Any]:
    """A grant whose cheques the operator has accepted, by a request of a known id."""
    place, _ = traced
    body = {"programme": place.year.world.programme["code"], "amount_cents": 5000, "reason": "evaluation"}
    request_id = str(uuid4())
    headers = {
        "Authorization": f"Bearer {place.year.calls.token(place.year.advisers[0])}",
        "Idempotency-Key": str(uuid4()),
        "X-Request-ID": request_id,
    }
    answer = requests.post(f"{place.stack.addresses['issuer']}/v1/grants", json=body, headers=headers, timeout=30)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert eventually(lambda: _orders(place, made) >= 5, 60)
    made["request_id"] = request_id
    assert eventually(lambda: len(_pushes(whole_traces(traced), place, made)) >= 1, 30)
    assert eventually(lambda: len(_named(whole_traces(traced), "apply cheques.issued", grant(made))) >= 2, 30)
    assert eventually(lambda: len(_named(whole_traces(traced), "POST /v1/grants", request(made))) >= 1, 30)
    return made


def whole_traces(traced: tuple[Town, Received]) -> list[Seen]:
    """The spans of the traces that are told to their end.

    A process sends a span when it has ended, so a parent after its children, and no process waits for another: a trace
    is whole when each span's parent has come, and the service's own span of each request to one of ours.
    """
    place, received = traced
    spans = received.spans()
    ours = set(place.stack.addresses.values())
    ids = {(span.trace, span.id) for span in spans}
    answered = {(span.trace, span.parent) for span in spans if span.kind == "server"}
    broken = {
        span.trace
        for span in spans
        if (span.parent and (span.trace, span.parent) not in ids)
        or (span.kind == "client" and _called(span) in ours and (span.trace, span.id) not in answered)
    }
    return [span for span in spans if span.trace not in broken]


def _called(span: Seen) -> str:
    """The address that a client's span is of."""
    return f"http://{span.facts['server.address']}:{span.facts['server.port']}"


def grant(made: dict[str, Any]) -> Callable[[Seen], bool]:
    return lambda span: made["grant_id"] in span.facts["souche.keys"]


def request(made: dict[str, Any]) -> Callable[[Seen], bool]:
    return lambda span: made["request_id"] == span.facts.get("souche.request_id")


def _orders(place: Town, made: dict[str, Any]) -> int:
    """How many of the grant's cheques a log says the operator was told of."""
    cheques = {cheque["cheque_id"] for cheque in made["cheques"]}
    return sum(len(cheques & set(line["cheque_ids"])) for line in lines(place, "operator_bridge", "orders_sent"))


def lines(place: Town, service: str, event: str) -> list[dict[str, Any]]:
    """The lines of a kind in the logs of a service's processes."""
    files: Sequence[Path] = [place.stack.log(name) for name in (service, f"{service}-worker")]
    texts = [text for file in files for text in file.read_text(encoding="utf-8").splitlines()]
    read = [json.loads(text) for text in texts if text.startswith("{")]
    return [line for line in read if line.get("event") == event]


def _pushes(spans: Sequence[Seen], place: Town, made: dict[str, Any]) -> list[Seen]:
    cheques = {cheque["cheque_id"] for cheque in made["cheques"]}
    sent = [line for line in lines(place, "operator_bridge", "orders_sent") if cheques & set(line["cheque_ids"])]
    orders = {order_id for line in sent for order_id in line["order_ids"]}
    return _named(spans, "push orders", lambda span: bool(orders & set(span.facts["souche.order_ids"])))


def _named(spans: Sequence[Seen], name: str, which: Callable[[Seen], bool] = lambda _: True) -> list[Seen]:
    return [span for span in spans if span.name == name and which(span)]


def _chain(spans: Sequence[Seen], span: Seen) -> list[Seen]:
    """A span, its parent, and so on."""
    by_id = {(item.trace, item.id): item for item in spans}
    chain = [span]
    while chain[-1].parent:
        chain.append(by_id[chain[-1].trace, chain[-1].parent])
    return chain


def test_the_request_is_a_trace_under_its_own_id(traced: tuple[Town, Received], granted: dict[str, Any]) -> None:
    [span] = _named(whole_traces(traced), "POST /v1/grants", request(granted))
    assert (span.service, span.kind, span.parent) == ("souche-issuer", "server", b"")
    assert span.facts["http.response.status_code"] == 201


def test_both_readers_applied_it_and_name_the_grant_and_the_request(
    traced: tuple[Town, Received], granted: dict[str, Any]
) -> None:
    applied = _named(whole_traces(traced), "apply cheques.issued", grant(granted))
    assert {span.service for span in applied} == {"souche-redeemer", "souche-operator-bridge"}
    assert all(granted["request_id"] in span.facts["souche.request_ids"] for span in applied)


def test_a_pull_is_a_task_that_asked_the_publisher(traced: tuple[Town, Received], granted: dict[str, Any]) -> None:
    spans = whole_traces(traced)
    for applied in _named(spans, "apply cheques.issued", grant(granted)):
        task = _chain(spans, applied)[-1]
        reader = applied.service.removeprefix("souche-").replace("-", "_")
        assert (task.name, task.kind) == (f"run/{reader}.pull", "consumer")
        served = [span for span in _named(spans, "GET /v1/events") if span.trace == applied.trace]
        assert {span.service for span in served} == {"souche-issuer"}
        assert all([item.kind for item in _chain(spans, span)] == ["server", "client", "consumer"] for span in served)


def test_a_ring_links_the_readers_task_to_the_request(traced: tuple[Town, Received], granted: dict[str, Any]) -> None:
    """A ring may be spared, where a reader was rung for a moment ago: of several requests, some were rung for."""
    traced[0].grant(3)

    def linked() -> set[str]:
        spans = whole_traces(traced)
        rings = {
            (span.trace, span.id): span
            for span in spans
            if span.kind == "producer" and [item.name for item in _chain(spans, span)][1:] == ["POST /v1/grants"]
        }
        return {span.name for span in spans for link in span.links if link in rings and span.trace != link[0]}

    assert eventually(lambda: {"run/redeemer.pull", "run/operator_bridge.pull"} <= linked(), 30)


def test_the_call_to_the_operator_hangs_on_the_push_and_names_the_orders(
    traced: tuple[Town, Received], granted: dict[str, Any]
) -> None:
    spans = whole_traces(traced)
    push = _pushes(spans, traced[0], granted)[0]
    assert [span.name for span in _chain(spans, push)] == ["push orders", "run/operator_bridge.push"]
    [operator] = traced[0].stack.operators.values()
    called = [span for span in spans if span.parent == push.id and span.kind == "client"]
    assert {_called(span) for span in called} == {operator}
    assert all(span.facts["http.response.status_code"] < 300 for span in called)
    codes_spans = [span for span in _named(spans, "POST /v1/codes") if span.trace == push.trace]
    assert {span.service for span in codes_spans} == {"souche-issuer"}


def test_a_task_that_wakes_another_is_linked_and_not_its_parent(
    traced: tuple[Town, Received], granted: dict[str, Any]
) -> None:
    spans = whole_traces(traced)
    task = _chain(spans, _pushes(spans, traced[0], granted)[0])[-1]
    assert task.parent == b""
    woke = {(span.trace, span.id): span for span in spans if span.kind == "producer"}
    assert all(woke[link].name == "apply_async/operator_bridge.push" for link in task.links if link in woke)


def test_the_logs_alone_lead_from_the_grant_to_the_operator(
    traced: tuple[Town, Received], granted: dict[str, Any]
) -> None:
    """By grep: the request's id, then the grant's, then its cheques', then the orders'."""
    place, cheques = traced[0], {cheque["cheque_id"] for cheque in granted["cheques"]}
    [made] = [line for line in lines(place, "issuer", "grants_made") if line["request_id"] == granted["request_id"]]
    assert (made["grant_ids"], set(made["cheque_ids"])) == ([granted["grant_id"]], cheques)
    for reader in ("redeemer", "operator_bridge"):
        [heard] = [line for line in lines(place, reader, "news_applied") if granted["grant_id"] in line["keys"]]
        assert (heard["publisher"], heard["kind"]) == ("issuer", "cheques.issued")
        assert granted["request_id"] in heard["request_ids"]
    sent = [line for line in lines(place, "operator_bridge", "orders_sent") if cheques & set(line["cheque_ids"])]
    assert all(line["answered"] and line["order_ids"] and line["request_id"] for line in sent)


def test_a_log_line_names_its_trace(traced: tuple[Town, Received], granted: dict[str, Any]) -> None:
    [line] = [
        item for item in lines(traced[0], "issuer", "request") if item.get("request_id") == granted["request_id"]
        and item["route"] == "/v1/grants"
    ]  # fmt: skip
    [span] = _named(whole_traces(traced), "POST /v1/grants", request(granted))
    assert (line["trace_id"], line["span_id"]) == (span.trace.hex(), span.id.hex())


def test_every_service_is_traced_and_machines_that_look_are_not(traced: tuple[Town, Received]) -> None:
    spans = whole_traces(traced)
    assert {span.service for span in spans} == {f"souche-{service.replace('_', '-')}" for service in SERVICES}
    assert not [span for span in spans if span.name.endswith(("/healthz", "/readyz", "/metrics"))]
