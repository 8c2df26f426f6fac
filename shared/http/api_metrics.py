"""Metrics over HTTP."""

from flask import Response
from flask_smorest import Blueprint
from prometheus_client import CONTENT_TYPE_LATEST

from shared.access.tokens import roles
from shared.http.request_context import service

blueprint = Blueprint("metrics", __name__, description="For Prometheus.")


@blueprint.route("/metrics")
@roles("admin", "operations", "service")
@blueprint.response(200, description="Prometheus text format.", content_type="text/plain")
def metrics() -> Response:
    """Counts and gauges for Prometheus, which sends a token of role operations."""
    return Response(service().metrics.text(), content_type=CONTENT_TYPE_LATEST)
