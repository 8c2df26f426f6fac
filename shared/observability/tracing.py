"""Traces by OpenTelemetry, off unless OTEL_EXPORTER_OTLP_ENDPOINT says where they go.

The other modules import this one alone. While tracing is off nothing of OpenTelemetry is imported, and what is here
costs a look at one variable; `shared.observability.otel` does the work.
"""

import importlib
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from shared.observability import logs
from shared.settings.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from shared.observability.otel import Tracing

_tracing: "Tracing | None" = None


def begin(settings: Settings) -> None:
    """Begins to trace this process, or a child after the fork; raises ConfigurationError without the libraries."""
    global _tracing
    if not settings.traces_endpoint or _tracing:
        return
    try:
        export = importlib.import_module("shared.observability.otel")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and {error.name} is not installed: install souche[tracing]."
        ) from None
    _tracing = export.start(settings)
    logs.also(_tracing.identity)


def end() -> None:
    """Sends what waits to be sent; for a process that ends."""
    if _tracing:
        _tracing.end()


def watch(app: Any) -> None:
    """Traces the requests of a Flask application, if tracing is on; hooks registered before run outside the span."""
    if _tracing:
        _tracing.watch(app)


def span(name: str, **facts: Any) -> AbstractContextManager[Any]:
    """A span around a block. `facts` are ids, numbers and names of things: never a code, a person or a token."""
    return _tracing.span(name, facts) if _tracing else nullcontext()


def context() -> Any:
    """What a thread passes to the `resumed` of another that goes on for it; None while tracing is off."""
    return _tracing.context() if _tracing else None


def resumed(context: Any) -> AbstractContextManager[None]:
    """A block that goes on for the thread whose context this is."""
    return _tracing.resumed(context) if _tracing and context is not None else nullcontext()


def among_us() -> AbstractContextManager[Any]:
    """A block whose HTTP requests go to a service of ours: no others carry the trace."""
    return _tracing.among_us() if _tracing else nullcontext()
