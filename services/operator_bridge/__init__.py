"""The operator bridge: contracts with operators, what each has registered, what was sent and received."""

from flask import Flask

from services.operator_bridge.adapter_kit import lookup
from services.operator_bridge.contracts import api as contracts_api
from services.operator_bridge.inbound import api as inbound_api
from services.operator_bridge.metrics import GAUGES
from services.operator_bridge.orders import api as orders_api
from services.operator_bridge.reconciliation import api as reconciliation_api
from services.operator_bridge.switching import api as switching_api
from shared.http.app import build
from shared.settings.settings import Settings, load

BLUEPRINTS = (
    contracts_api.blueprint,
    contracts_api.recollections,
    orders_api.orders,
    inbound_api.blueprint,
    inbound_api.polls,
    *reconciliation_api.BLUEPRINTS,
    switching_api.blueprint,
)


def create_app(settings: Settings | None = None) -> Flask:
    """The web application; raises ConfigurationError where an operator's settings are incomplete."""
    settings = settings or load("operator_bridge")
    lookup.check(settings.operators)
    return build("operator_bridge", settings, BLUEPRINTS, GAUGES)
