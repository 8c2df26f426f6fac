"""Celery, configured once for the three services: two queues each, and every setting with its reason.

A task says "there is work", and the work is in PostgreSQL: a message that is lost costs a few seconds until the next
sweep, and one that comes twice finds nothing left to do.
"""

from itertools import permutations
from typing import Any

import structlog
from celery import Celery, Task, signals
from kombu.entity import Queue
from kombu.transport import TRANSPORT_ALIASES

from shared.audit import trail
from shared.observability import logs
from shared.settings.settings import SERVICES, Settings

_REQUEST_ID = "souche_request_id"

LONG_TASKS = frozenset(
    {
        "issuer.forget_people",
        "issuer.warn_of_expiry",
        "operator_bridge.reconcile",
        "redeemer.expire",
        "redeemer.issue_statements",
    }
)
"""The tasks that may take a minute or more: they have a queue of their own, so that nothing else waits behind them."""

LONG_QUEUES = {service: f"{service}.long" for service in SERVICES}
"""The queue of each service's long tasks; the queue of its other tasks has the service's name."""

QUEUES = (*SERVICES, *LONG_QUEUES.values())

# Longer than any task's hard limit, or a message would be delivered again while its first delivery still runs
# (celery#5935).
_VISIBILITY_SECONDS = 300

_REDIS = ("redis://", "rediss://", "unix://", "redis+socket://")

_CONFIGURATION: dict[str, Any] = {
    # A message is acknowledged when its task ended, not when it began: a worker that dies in between gives it back.
    "task_acks_late": True,
    # The same where only the pool's child was killed (out of memory): without this the parent acknowledges for it.
    # A poisonous task could loop; ours count their attempts in PostgreSQL.
    "task_reject_on_worker_lost": True,
    # A connection loss gives late-acknowledged messages to others at once: stop working on them here.
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    # Take one message at a time: more was no faster (measured from 1 to 64), and a prefetched one waits behind a slow.
    "worker_prefetch_multiplier": 1,
    # Outcomes are rows in PostgreSQL. A result in Redis would be one more thing to lose.
    "task_ignore_result": True,
    # A task that hangs gets an exception, then is killed; both well under the visibility timeout.
    "task_soft_time_limit": 60,
    "task_time_limit": 90,
    # On SIGTERM finish what is in hand for this long, then give the rest back to the queue. An idle worker stops at
    # once: waiting is for delayed tasks (ETA), and we have none.
    "worker_soft_shutdown_timeout": 30,
    "worker_enable_soft_shutdown_on_idle": False,
    # Children are renewed now and then, against slow leaks.
    "worker_max_tasks_per_child": 10_000,
    # Start although the broker does not answer yet, and go on trying after it went away.
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # JSON only: a message is never code.
    "task_serializer": "json",
    "accept_content": ["json"],
    "timezone": "Europe/Paris",
    "enable_utc": True,
    # The schedule lives in memory: every tick may come twice or not at all, so there is nothing to remember.
    "beat_scheduler": "celery.beat:Scheduler",
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_send_task_events": False,
}

# For Redis as a broker only. It has no acknowledgements: a message in hand is visible again after a while.
_ON_REDIS: dict[str, Any] = {
    "broker_transport_options": {
        "visibility_timeout": _VISIBILITY_SECONDS,
        # What a killed worker held is looked for every 5 s; with kombu's defaults it came back after some 100 s.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # Notice a dead connection: well above the 1 s of a BRPOP, well under anybody's patience.
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
    },
    # The shortest visibility timeout among all who share a broker wins, an unset default included: say it everywhere.
    "visibility_timeout": _VISIBILITY_SECONDS,
    "result_backend_transport_options": {"visibility_timeout": _VISIBILITY_SECONDS},
}

# kombu finds a transport by the scheme of the address: once for the whole process.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "shared.process.redis_transport:Transport"))


class App(Celery):
    """A Celery application whose tasks find the runtime of their service."""

    task_cls = "shared.process.timeouts:TimedTask"
    runtime: Any


def create(settings: Settings) -> App:
    """The Celery application of one service: it consumes its own queues and may send to the others'."""
    app = App("souche", broker=settings.broker_url, set_as_current=False)
    app.conf.update(_CONFIGURATION)
    if settings.broker_url.startswith(_REDIS):
        app.conf.update(_ON_REDIS)
    app.conf.task_queues = [Queue(name) for name in QUEUES]
    app.conf.task_default_queue = settings.service
    app.conf.task_routes = (_route,)
    return app


def sweeps(settings: Settings) -> dict[str, dict[str, Any]]:
    """The beat entries that make every reader pull every log, whatever became of the bells."""
    return {
        f"{reader} pulls {publisher}": every(settings.sweep_seconds, f"{reader}.pull", publisher)
        for reader, publisher in permutations(SERVICES, 2)
    }


def every(seconds: float, task: str, *args: Any) -> dict[str, Any]:
    """A beat entry for a task; a tick that nobody took before the next one is dropped."""
    return {"task": task, "schedule": seconds, "args": args, "options": {"expires": max(seconds, 1.0)}}


def _route(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """The queue of a task: its name begins with its service."""
    service = name.partition(".")[0]
    if service not in SERVICES:
        return None
    return {"queue": LONG_QUEUES[service] if name in LONG_TASKS else service}


@signals.before_task_publish.connect
def _send_request_id(headers: dict[str, Any] | None = None, **_: Any) -> None:
    request_id = logs.current_request_id()
    if headers is not None and request_id:
        headers[_REQUEST_ID] = request_id


@signals.task_prerun.connect
def _bind_request_id(task: Task[Any, Any], task_id: str, **_: Any) -> None:
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)
    logs.begin_request(getattr(task.request, _REQUEST_ID, None) or (task.request.headers or {}).get(_REQUEST_ID))
    act = trail.system(task.name)
    trail.begin(lambda: act)


@signals.task_postrun.connect
def _unbind_request_id(**_: Any) -> None:
    trail.end()
    structlog.contextvars.unbind_contextvars("task", "task_id", "request_id")
