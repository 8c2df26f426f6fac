"""What leaves a process in a span: relations, routes and ids; nothing that a caller or an exception may have said."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from requests.structures import CaseInsensitiveDict

from shared.observability import logs, otel
from shared.observability.otel import Discreet, provide
from shared.values import cheque_code
from shared.values.ids import new_id

CODE = cheque_code.printed(cheque_code.generate())


class _Exporter(Discreet, InMemorySpanExporter):
    pass


class Kept:
    """A tracer, and what would have been sent."""

    def __init__(self, ratio: float = 1.0) -> None:
        self._exporter = _Exporter()
        self.tracer = provide("redeemer", ratio, SimpleSpanProcessor(self._exporter)).get_tracer("test")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_what_a_caller_said_is_left_out(kept: Kept) -> None:
    attributes = {
        "http.request.method": "POST",
        "http.route": "/v1/checks",
        "url.path": f"/v1/checks/{CODE}",
        "url.query": f"code={CODE}",
        "server.address": CODE,
        "user_agent.original": CODE,
        "client.address": "203.0.113.9",
        "http.request.header.authorization": "Bearer x",
    }
    with kept.tracer.start_as_current_span(f"POST /v1/checks/{CODE}", kind=SpanKind.SERVER, attributes=attributes):
        pass
    [span] = kept.spans
    assert span.name == "POST /v1/checks"
    assert span.attributes == {"http.request.method": "POST", "http.route": "/v1/checks"}


def test_a_route_that_there_is_not_has_no_name(kept: Kept) -> None:
    attributes = {"http.request.method": "GET"}
    with kept.tracer.start_as_current_span(f"GET /{CODE}", kind=SpanKind.SERVER, attributes=attributes):
        pass
    assert kept.spans[0].name == "GET"


def test_of_an_exception_only_its_kind_is_told(kept: Kept) -> None:
    with pytest.raises(ValueError, match="no such"), kept.tracer.start_as_current_span("work"):
        raise ValueError(f"no such cheque: {CODE}")
    [span] = kept.spans
    assert [(event.name, event.attributes) for event in span.events] == [
        ("exception", {"exception.type": "ValueError"})
    ]
    assert (span.status.is_ok, span.status.description) == (False, None)


def test_of_whom_we_call_the_host_is_told_and_no_path(kept: Kept) -> None:
    attributes = {"server.address": "operator.example", "url.full": f"https://operator.example/vouchers/{CODE}"}
    with kept.tracer.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=attributes):
        pass
    assert kept.spans[0].attributes == {"server.address": "operator.example"}


def test_a_code_among_our_own_facts_is_blotted_out_and_ids_are_not(kept: Kept) -> None:
    facts = {"souche.keys": [str(new_id()), CODE], "souche.reason": f"lost {CODE}"}
    with kept.tracer.start_as_current_span("apply", attributes=facts):
        pass
    assert kept.spans[0].attributes == {"souche.keys": [facts["souche.keys"][0], "[code]"], "souche.reason": "[code]"}


def test_every_span_names_its_request(kept: Kept) -> None:
    request_id = str(new_id())
    with logs.caused_by(request_id), kept.tracer.start_as_current_span("work"):
        pass
    assert kept.spans[0].attributes == {"souche.request_id": request_id}


def test_other_peoples_trace_state_and_baggage_go_no_further() -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    carrier = {"traceparent": parent, "tracestate": f"x={CODE}", "baggage": f"code={CODE}"}
    propagator = otel._OnlyIds()
    context = propagator.extract(carrier)
    injected: dict[str, str] = {}
    propagator.inject(injected, context)
    assert injected == {"traceparent": parent}


def test_nobody_outside_is_told_of_a_trace() -> None:
    propagator = otel._OnlyIds()
    context = propagator.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    to_an_operator: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    propagator.inject(to_an_operator, context)
    assert not to_an_operator


def test_a_part_of_the_traces_is_kept_and_all_that_is_linked_to_them() -> None:
    nothing = Kept(ratio=0.0)
    linked: list[int] = []
    with nothing.tracer.start_as_current_span("a tick"):
        pass
    assert not nothing.spans
    rang = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
    with nothing.tracer.start_as_current_span("run", links=[trace.Link(rang)]):
        pass
    for span in nothing.spans:
        linked += [link.context.trace_id for link in span.links]
    assert linked == [1]
