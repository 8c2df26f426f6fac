"""OpenTelemetry as we use it; imported by `shared.observability.tracing` where tracing is on, and by nobody else.

The instrumentations of Flask, Celery and requests see whatever passes them: addresses with queries, headers, messages
of exceptions. A code is cash and a name is a person's, so nothing of that leaves this process: `discreet` lets through
what is on its list and drops the rest.
"""

import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import util
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.propagators.textmap import CarrierT, Getter, Setter, default_getter, default_setter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes
from requests.structures import CaseInsensitiveDict

from shared.observability import logs
from shared.settings.settings import Settings
from shared.values import cheque_code

_OURS = "souche."
_KEPT = frozenset(
    {
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "celery.action",
        "celery.task_name",
        "messaging.message.id",
        "messaging.destination",
        "error.type",
        "exception.type",
    }
)
# Whom we call is our own setting; whom a caller of ours says it calls is its own word.
_KEPT_OF_CLIENTS = _KEPT | {"server.address", "server.port"}

# Asked every few seconds by machines, and never of interest.
_NOT_TRACED = "/healthz$,/readyz$,/metrics$"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EXPORT_SECONDS = 5
# Attributes that name many things at once (orders, grants) name so many of them.
_MOST_NAMED = 100
_AMONG_US = contexts.create_key("souche-among-us")


def start(settings: Settings) -> "_Tracing":
    """Instruments this process and sends its spans by OTLP over HTTP."""
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.traces_endpoint}/v1/traces",
        headers=dict(settings.traces_headers),
        timeout=_EXPORT_SECONDS,
    )
    provider = provide(settings.service, settings.traces_ratio, BatchSpanProcessor(Discreet(exporter)))
    # The names that are stable, instead of those that the instrumentations had before.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    propagate.set_global_textmap(_OnlyIds())
    # A task is a trace of its own, linked to who rang: rings are coalesced, and a worker's tasks wake each other for as
    # long as there is work, so a trace that went on from task to task would have no end.
    celery: Any = CeleryInstrumentor
    celery().instrument(tracer_provider=provider, use_span_links=True)
    RequestsInstrumentor().instrument(tracer_provider=provider)
    util.Finalize(None, provider.shutdown, exitpriority=1)  # a web server's process ends without atexit
    return _Tracing(provider)


def provide(service: str, ratio: float, processor: SpanProcessor) -> TracerProvider:
    """What makes the spans of a service, and hands those that are sampled to the processor."""
    resource = Resource.create({"service.name": f"souche-{service.replace('_', '-')}", "service.namespace": "souche"})
    provider = TracerProvider(sampler=ParentBased(_Linked(TraceIdRatioBased(ratio))), resource=resource)
    provider.add_span_processor(_OfRequest())
    provider.add_span_processor(processor)
    return provider


class _Tracing:
    """`shared.observability.tracing.Tracing`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("souche")

    def span(self, name: str, facts: Mapping[str, Any]) -> Any:
        attributes = {f"{_OURS}{key}": _few(value) for key, value in facts.items() if value is not None}
        return self._tracer.start_as_current_span(name, attributes=attributes)

    def watch(self, app: Any) -> None:
        flask: Any = FlaskInstrumentor
        flask.instrument_app(app, tracer_provider=self._provider, excluded_urls=_NOT_TRACED, enable_commenter=False)

    def context(self) -> contexts.Context:
        return contexts.get_current()

    @contextmanager
    def resumed(self, context: contexts.Context) -> Iterator[None]:
        token = contexts.attach(context)
        try:
            yield
        finally:
            contexts.detach(token)

    def among_us(self) -> Any:
        return self.resumed(contexts.set_value(_AMONG_US, True))

    def identity(self) -> Mapping[str, str]:
        span = trace.get_current_span().get_span_context()
        if not span.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(span.trace_id), "span_id": trace.format_span_id(span.span_id)}

    def end(self) -> None:
        self._provider.shutdown()


class _Linked(Sampler):
    """Keeps what is linked to a trace that is kept, and of the rest a part: a task of what a request rang for."""

    def __init__(self, rest: Sampler) -> None:
        self._rest = rest

    def should_sample(
        self,
        parent_context: contexts.Context | None,
        trace_id: int,
        name: str,
        kind: trace.SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[trace.Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> SamplingResult:
        if any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._rest.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        return f"Linked{{{self._rest.get_description()}}}"


class _OfRequest(SpanProcessor):
    """Names on every span the request that it follows from, as every log line does."""

    def on_start(self, span: Span, parent_context: contexts.Context | None = None) -> None:
        request_id = logs.current_request_id()
        if request_id:
            span.set_attribute(f"{_OURS}request_id", request_id)


class _OnlyIds(TraceContextTextMapPropagator):
    """The W3C `traceparent`, told to services and tasks of ours alone.

    `tracestate` and `baggage` are other people's words: neither is taken in, so that neither goes on to a queue, an
    operator or a collector.
    """

    def extract(
        self,
        carrier: CarrierT,
        context: contexts.Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> contexts.Context:
        found = super().extract(carrier, context, getter)
        told = trace.get_current_span(found).get_span_context()
        if not told.trace_state:
            return found
        bare = trace.SpanContext(told.trace_id, told.span_id, is_remote=True, trace_flags=told.trace_flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(bare), context)

    def inject(
        self,
        carrier: CarrierT,
        context: contexts.Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        over_http = isinstance(carrier, CaseInsensitiveDict)
        if not over_http or contexts.get_value(_AMONG_US, context):
            super().inject(carrier, context, setter)


class Discreet(SpanExporter):
    """Hands spans on without what nobody may read."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hands on what is left of each span."""
        return self._inner.export([discreet(span) for span in spans])

    def shutdown(self) -> None:
        """Ends the exporter behind this one."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)


def discreet(span: ReadableSpan) -> ReadableSpan:
    """A span with what may be told of it: times, relations, routes, statuses, kinds of exceptions, our own facts."""
    kept = _KEPT_OF_CLIENTS if span.kind is trace.SpanKind.CLIENT else _KEPT
    return ReadableSpan(
        name=_name(span),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_facts(span.attributes, kept),
        events=[Event(event.name, _facts(event.attributes, kept), event.timestamp) for event in span.events],
        links=[trace.Link(link.context) for link in span.links],
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=trace.Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


def _name(span: ReadableSpan) -> str:
    """A request's name is its method and its route: of a route that there is not, the caller made up the path."""
    if span.kind is not trace.SpanKind.SERVER:
        return str(_told(span.name))
    given = span.attributes or {}
    return f"{given.get('http.request.method', 'HTTP')} {given.get('http.route', '')}".strip()


def _facts(given: Attributes, kept: frozenset[str]) -> dict[str, Any]:
    return {name: _told(value) for name, value in (given or {}).items() if name in kept or name.startswith(_OURS)}


@functools.lru_cache(4096)
def _reads_like_a_code(text: str) -> bool:
    return cheque_code.stands_in(text)


def _few(value: Any) -> Any:
    return value[:_MOST_NAMED] if isinstance(value, list) else value


def _told(value: Any) -> Any:
    """A value, unless it reads like a code, wherever that came from."""
    if isinstance(value, str):
        return value if _ID.fullmatch(value) or not _reads_like_a_code(value) else "[code]"
    return [_told(each) for each in value] if isinstance(value, (list, tuple)) else value
