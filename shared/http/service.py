"""What the application of one service stands on, as one typed object that `shared.http.app.build` makes."""

from dataclasses import dataclass

from flask import Flask, current_app

from shared.access.login import Register
from shared.access.login_audit import LoginRefusals
from shared.access.oidc_provider import Provider
from shared.access.token_lockout import TokenLockout
from shared.access.tokens import Verifier
from shared.http.metrics import Metrics
from shared.limiting.rate_limit import RateLimit
from shared.limiting.slow_bodies import SlowBodies
from shared.process.runtime import Runtime


@dataclass
class Service:
    """The parts of one process of a service. `app.extensions["souche"]` is it, as rooms below this one reach it."""

    runtime: Runtime
    verifier: Verifier
    token_lockout: TokenLockout
    login_refusals: LoginRefusals
    rate_limit: RateLimit
    slow_bodies: SlowBodies
    metrics: Metrics
    provider: Provider | None = None
    """The OpenID Connect provider by which people log in; None where none is configured."""
    register: Register | None = None
    """The places that tokens may be scoped to; None where the service has none."""


def of(app: Flask) -> Service:
    """The parts of an application that `build` made."""
    found: Service = app.extensions["souche"]
    return found


def current() -> Service:
    """The parts of the application that serves this request."""
    return of(current_app)
