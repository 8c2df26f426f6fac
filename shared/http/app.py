"""The HTTP framework of the services: `build` makes an application of blueprints (`docs/http-framework.md`)."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
import structlog
from flask import Flask, Response, g, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from flask_smorest import Api, Blueprint
from flask_swagger_ui import get_swaggerui_blueprint
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from shared import problems
from shared.access import login, permissions, tokens
from shared.access.login import Register
from shared.access.oidc_provider import Provider
from shared.access.revocations import RevocationList
from shared.access.token_lockout import TokenLockout
from shared.access.tokens import Verifier, public, uncounted
from shared.http import (
    api_access,
    api_audit,
    api_events,
    api_metrics,
    api_token,
    errors,
    metrics,
    openapi,
)
from shared.http.metrics import Gauge, Metrics
from shared.http.request_context import Service, runtime
from shared.limiting import rate_limit
from shared.limiting.rate_limit import RateLimit
from shared.limiting.slow_bodies import SlowBodies
from shared.observability import logs, tracing
from shared.problems import ProblemSchema
from shared.process import broker_status
from shared.process.runtime import Runtime
from shared.settings.settings import Settings, load

_MAX_BODY_BYTES = 16 * 1024 * 1024
_COMMON = (*(api.blueprint for api in (api_events, api_metrics, api_audit, api_token)), *api_access.BLUEPRINTS)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# A page of ours: its own style, images within it, no script and nothing from elsewhere.
_PAGE = f"{_NOTHING}; style-src 'unsafe-inline'; img-src data:; font-src data:"
# The readable page of the API begins with a script of its own and calls this service.
_DOCUMENTS = (
    f"{_NOTHING}; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'"
)
# Sent over TLS alone, which a proxy of ours may end: see TRUSTED_PROXIES.
_TLS = "max-age=31536000; includeSubDomains"


class _Flask(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view or hook here is a coroutine: Flask would ask that of each at every request."""
        return func


class _Api(Api):
    ERROR_SCHEMA = ProblemSchema

    def handle_http_exception(self, error: HTTPException) -> Response:
        return problems.answer_http_error(error)


def build(
    service: str,
    settings: Settings | None,
    blueprints: Sequence[Blueprint],
    gauges: Sequence[Gauge] = (),
    register: Register | None = None,
) -> Flask:
    """Builds the application of a service from its blueprints, with the gauges of its tables.

    `register` has the places that tokens may be scoped to, by their SIRET. Raises ConfigurationError where a setting is
    missing or wrong, and RuntimeError where a route neither names its roles nor is public.
    """
    settings = settings or load(service)
    logs.configure(service, settings.log_level)
    app = with_routes(service, blueprints)
    app.extensions["souche"] = _service(settings, gauges, register)
    _add_security_headers(app, settings.trusted_proxies)
    errors.add(app)
    _add_logging(app)
    tracing.begin(settings)
    tracing.watch(app)
    api_audit.watch_requests(app)
    return app


def with_routes(service: str, blueprints: Sequence[Blueprint]) -> Flask:
    """An application that can describe all routes of a service and serve none; raises RuntimeError as `build` does."""
    app = _Flask(service)
    app.config.update(MAX_CONTENT_LENGTH=_MAX_BODY_BYTES, PROPAGATE_EXCEPTIONS=False, **openapi.settings(service))
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _add_health(app)
    _add_documents(app, [*blueprints, *_COMMON])
    permissions.of(app)
    return app


def _service(settings: Settings, gauges: Sequence[Gauge], register: Register | None) -> Service:
    runtime = Runtime(settings)
    return Service(
        runtime=runtime,
        verifier=Verifier(
            tokens.accepted_keys(settings), settings.service, RevocationList(runtime.transaction).is_revoked
        ),
        token_lockout=TokenLockout(runtime),
        login_refusals=login.Refusals(runtime),
        rate_limit=RateLimit(settings.service, rate_limit.store(settings)),
        slow_bodies=SlowBodies(settings.pool_size),
        metrics=Metrics(runtime, gauges),
        provider=Provider.of(settings) if settings.oidc_issuer else None,
        register=register,
    )


def _add_security_headers(app: Flask, trusted_proxies: int) -> None:
    """Adds the headers; the caller's address and scheme are those that so many proxies of our own name."""
    if trusted_proxies:
        proxied = ProxyFix(app.wsgi_app, x_for=trusted_proxies, x_proto=trusted_proxies)
        app.wsgi_app = proxied  # type: ignore[method-assign]

    @app.after_request
    def protect(response: Response) -> Response:
        present = {name.lower() for name, _ in response.headers}
        ours = _ALWAYS | {"Content-Security-Policy": _policy(response)}
        if request.is_secure:
            ours["Strict-Transport-Security"] = _TLS
        for name, value in ours.items():
            if name.lower() not in present:
                response.headers.add(name, value)
        return response


def _policy(response: Response) -> str:
    if request.path.startswith("/docs/"):
        return _DOCUMENTS
    return _PAGE if response.mimetype == "text/html" else _NOTHING


def _add_logging(app: Flask) -> None:
    service = app.import_name

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        g.request_id = logs.begin_request(request.headers.get(logs.REQUEST_ID_HEADER))

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[logs.REQUEST_ID_HEADER] = g.request_id
        response.headers.setdefault("Cache-Control", "no-store")  # bodies hold codes and names
        seconds, route = time.perf_counter() - g.began, str(request.url_rule or "unknown")
        # Callers invent methods, each of which would be a time series of its own, for ever.
        method = request.method if request.method in _METHODS else "OTHER"
        metrics.REQUESTS.labels(service, method, route, response.status_code).observe(seconds)
        ids = {name: str(value) for name, value in (request.view_args or {}).items() if isinstance(value, UUID)}
        caller, milliseconds = str(g.caller) if "caller" in g else None, round(seconds * 1000, 2)
        facts = {"method": method, "route": route, "status": response.status_code, "milliseconds": milliseconds}
        logs.logger().info("request", **facts, caller=caller, **ids)
        return response

    @app.teardown_request
    def forget(_: BaseException | None) -> None:
        structlog.contextvars.unbind_contextvars("request_id")


def _add_health(app: Flask) -> None:
    @app.get("/healthz")
    @uncounted
    def healthz() -> ResponseReturnValue:
        """Says that the process lives, and nothing of what it depends on, which no restart would cure."""
        return jsonify(status="ok")

    @app.get("/readyz")
    @uncounted
    def readyz() -> ResponseReturnValue:
        """Says whether requests can be served: without the database they cannot, without the broker they can."""
        checks = {"database": _database_answers(runtime()), "broker": broker_status.answers(runtime())}
        body = {name: "ok" if good else "down" for name, good in checks.items()}
        return jsonify(status="ok" if all(checks.values()) else "degraded", **body), 200 if checks["database"] else 503


def _database_answers(runtime: Runtime) -> bool:
    with suppress(OperationalError, PoolTimeout), runtime.engine.connect() as connection:
        return bool(connection.scalar(sa.text("SELECT 1")))
    return False


def _add_documents(app: Flask, blueprints: Sequence[Blueprint]) -> None:
    api = _Api(app)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    document = openapi.document(app, api.spec.to_dict())
    # The readable page needs no outside host: not for validating the document either.
    options = {"app_name": app.config["API_TITLE"], "validatorUrl": None, "persistAuthorization": True}
    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", options))
    for endpoint in ("swagger_ui.show", "static"):
        app.view_functions[endpoint] = public(cast(Any, app.view_functions[endpoint]))

    @app.get("/openapi.json")
    @public
    def openapi_json() -> ResponseReturnValue:
        """The OpenAPI 3.1 document of this service."""
        return jsonify(document)

    @app.get("/")
    @public
    def home() -> ResponseReturnValue:
        """Leads a person to the readable page."""
        return redirect("/docs/")
