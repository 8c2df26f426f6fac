"""OpenTelemetry as we use it; only `shared.observability.tracing` imports it, and only where tracing is on.

The instrumentations of Flask, Celery and requests see whatever passes them: addresses with queries, headers, messages
of exceptions. A code is cash and a name is a person's, so nothing of that leaves this process: `discreet` keeps what is
on its list and drops the rest.
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
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, SamplingResult, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes
from requests.structures import CaseInsensitiveDict

from shared.observability import logs
from shared.settings.settings import Settings
from shared.values import cheque_code

_OURS = "souche."
_KEPT = frozenset({
    "http.request.method", "http.response.status_code", "http.route", "celery.action", "celery.task_name",
    "messaging.message.id", "messaging.destination", "error.type", "exception.type",
})  # fmt: skip
# The server that we call is a setting of ours; the one that a caller names is the caller's word.
_KEPT_OF_CLIENTS = _KEPT | {"server.address", "server.port"}

# Requested every few seconds by machines, and never of interest.
_NOT_TRACED = "/healthz$,/readyz$,/metrics$"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EXPORT_SECONDS = 5
_MAX_NAMED = 100  # in an attribute that lists orders or grants
_AMONG_US = contexts.create_key("souche-among-us")


def start(settings: Settings) -> "Tracing":
    """Instruments this process and sends its spans by OTLP over HTTP."""
    exporter = _Exporter(
        endpoint=f"{settings.traces_endpoint}/v1/traces", headers=dict(settings.traces_headers), timeout=_EXPORT_SECONDS
    )
    provider = provide(settings.service, settings.traces_ratio, BatchSpanProcessor(exporter))
    # The names that are stable, instead of those that the instrumentations had before.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    propagate.set_global_textmap(_OnlyIds())
    # A task is a trace of its own, linked to who rang: rings are coalesced, and a worker's tasks wake each other for as
    # long as there is work, so a trace that went on from task to task would have no end.
    celery: Any = CeleryInstrumentor
    celery().instrument(tracer_provider=provider, use_span_links=True)
    RequestsInstrumentor().instrument(tracer_provider=provider)
    util.Finalize(None, provider.shutdown, exitpriority=1)  # a web server's process ends without atexit
    return Tracing(provider)


def provide(service: str, ratio: float, processor: SpanProcessor) -> TracerProvider:
    """Makes the spans of a service, and passes those that are sampled to the processor."""
    resource = Resource.create({"service.name": f"souche-{service.replace('_', '-')}", "service.namespace": "souche"})
    provider = TracerProvider(sampler=ParentBased(_Linked(ratio)), resource=resource)
    provider.add_span_processor(_OfRequest())
    provider.add_span_processor(processor)
    return provider


class Tracing:
    """The tracing of this process; `shared.observability.tracing` says what each method is for."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("souche")

    def span(self, name: str, facts: Mapping[str, Any]) -> Any:
        present = {f"{_OURS}{key}": value for key, value in facts.items() if value is not None}
        attributes = {key: value[:_MAX_NAMED] if isinstance(value, list) else value for key, value in present.items()}
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


class _Linked(TraceIdRatioBased):
    """Keeps what is linked to a trace that is kept, such as a task that a request rang for, and a part of the rest."""

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
        return super().should_sample(parent_context, trace_id, name, kind, attributes, links)


class _OfRequest(SpanProcessor):
    """Names on every span the request that it follows from, as every log line does."""

    def on_start(self, span: Span, parent_context: contexts.Context | None = None) -> None:
        request_id = logs.current_request_id()
        if request_id:
            span.set_attribute(f"{_OURS}request_id", request_id)


class _OnlyIds(TraceContextTextMapPropagator):
    """The W3C `traceparent`, sent to our services and tasks alone, without `tracestate` and `baggage` of others."""

    def extract(
        self, carrier: CarrierT, context: contexts.Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> contexts.Context:
        found = super().extract(carrier, context, getter)
        remote = trace.get_current_span(found).get_span_context()
        if not remote.trace_state:
            return found
        bare = trace.SpanContext(remote.trace_id, remote.span_id, is_remote=True, trace_flags=remote.trace_flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(bare), context)

    def inject(
        self, carrier: CarrierT, context: contexts.Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        over_http = isinstance(carrier, CaseInsensitiveDict)
        if not over_http or contexts.get_value(_AMONG_US, context):
            super().inject(carrier, context, setter)


class Discreet(SpanExporter):
    """Lets the exporter after it export no more of a span than `discreet` keeps."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return super().export([discreet(span) for span in spans])


class _Exporter(Discreet, OTLPSpanExporter):
    pass


def discreet(span: ReadableSpan) -> ReadableSpan:
    """A span with what may leave this process: times, relations, routes, statuses, types of exceptions, our facts."""
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
    """A request's name is its method and its route: a path that has no route is the caller's invention."""
    if span.kind is not trace.SpanKind.SERVER:
        return str(_without_code(span.name))
    attributes = span.attributes or {}
    return f"{attributes.get('http.request.method', 'HTTP')} {attributes.get('http.route', '')}".strip()


def _facts(attributes: Attributes, kept: frozenset[str]) -> dict[str, Any]:
    named = (attributes or {}).items()
    return {name: _without_code(value) for name, value in named if name in kept or name.startswith(_OURS)}


_reads_like_a_code = functools.lru_cache(4096)(cheque_code.stands_in)


def _without_code(value: Any) -> Any:
    if isinstance(value, str):
        return value if _ID.fullmatch(value) or not _reads_like_a_code(value) else "[code]"
    return [_without_code(item) for item in value] if isinstance(value, (list, tuple)) else value
