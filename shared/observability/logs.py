"""Structured logs: one JSON object a line, with the id of the request that caused it, over HTTP and Celery alike."""

import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import structlog
from structlog.typing import EventDict

from shared.values import cheque_code
from shared.values.ids import new_id

REQUEST_ID_HEADER = "X-Request-ID"
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Without the local variables of its frames: they hold codes, tokens and names.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))

_also: list[Callable[[], Mapping[str, str]]] = []


def also(facts: Callable[[], Mapping[str, str]]) -> None:
    """Adds these facts, read anew, to every line from now on."""
    _also.append(facts)


def _add_further(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for facts in _also:
        event.update(facts())
    return event


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    _add_further,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(service: str, level: str) -> None:
    """Sends this process's logs, ours and the libraries', to standard error as JSON lines."""

    def name_service(_logger: Any, _method: str, event: EventDict) -> EventDict:
        return {"service": service, **event}

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[name_service, *_SHARED, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _TRACEBACKS,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    structlog.configure(
        processors=[name_service, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def logger() -> Any:
    """A logger that takes facts by name: `logger().info("event", cheques=5)`."""
    return structlog.stdlib.get_logger("souche")  # without a name, each call would look through the stack for one


def ids(values: Iterable[object]) -> list[str]:
    """The ids as text, without None and duplicates."""
    return list(dict.fromkeys(str(value) for value in values if value is not None))


def begin_request(request_id: str | None) -> str:
    """Binds the caller's request id, or a new one where the caller sent none that is fit to log, and returns it."""
    if not request_id or not _ACCEPTED_ID.fullmatch(request_id) or cheque_code.stands_in(request_id):
        request_id = str(new_id())
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def caused_by(request_id: str | None) -> AbstractContextManager[None]:
    """What is logged and published in this block follows from that request; None keeps the current one."""
    return structlog.contextvars.bound_contextvars(**({"request_id": request_id} if request_id else {}))


def current_request_id() -> str | None:
    """The id of the request in hand, if any."""
    return structlog.contextvars.get_contextvars().get("request_id")
