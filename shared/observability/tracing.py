"""Traces by OpenTelemetry, off unless OTEL_EXPORTER_OTLP_ENDPOINT says where they go.

This module is all that the rest knows of it. While tracing is off nothing of OpenTelemetry is imported, and what is
here costs a look at one variable; `shared.observability.otel` is the other half.
"""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from shared.observability import logs
from shared.settings.settings import ConfigurationError, Settings


class Tracing(Protocol):
    """What `shared.observability.otel` does where tracing is on."""

    def span(self, name: str, facts: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """A span around a block, with these attributes."""

    def watch(self, app: Any) -> None:
        """Has a Flask application's requests traced."""

    def context(self) -> Any:
        """What a thread hands to another that goes on for it."""

    def resumed(self, context: Any) -> AbstractContextManager[Any]:
        """A block that goes on for whoever had that context."""

    def among_us(self) -> AbstractContextManager[Any]:
        """A block whose HTTP requests go to a service of ours, which may know the trace."""

    def identity(self) -> Mapping[str, str]:
        """The trace and the span in hand, for a log line."""

    def end(self) -> None:
        """Sends what waits to be sent."""


_tracing: Tracing | None = None


def begin(settings: Settings) -> None:
    """Has this process traced, once, if the settings say where to.

    A process that forks is traced in its children: call it there. Raises ConfigurationError where the libraries are
    not installed.
    """
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
    """Has the requests of a Flask application traced, if anything is; hooks registered before run outside the span."""
    if _tracing:
        _tracing.watch(app)


def span(name: str, **facts: Any) -> AbstractContextManager[Any]:
    """A span around a block. `facts` are ids, numbers and names of things: never a code, a person or a token."""
    return _tracing.span(name, facts) if _tracing else nullcontext()


def context() -> Any:
    """What a thread hands to another that goes on for it by `resumed`; None while nothing is traced."""
    return _tracing.context() if _tracing else None


@contextmanager
def resumed(context: Any) -> Iterator[None]:
    """What is done in this block goes on for whoever had that context."""
    with _tracing.resumed(context) if _tracing and context is not None else nullcontext():
        yield


def among_us() -> AbstractContextManager[Any]:
    """HTTP requests in this block go to a service of ours; nobody else is told of traces."""
    return _tracing.among_us() if _tracing else nullcontext()
