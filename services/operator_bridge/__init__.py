"""The operator bridge: contracts with operators, what each operator knows, what was sent to and heard from it."""

from flask import Flask

from services.operator_bridge import interface
from services.operator_bridge.contracts import api as api_contracts
from services.operator_bridge.contracts import api_recovery
from services.operator_bridge.inbound import api as api_operators
from services.operator_bridge.metrics import GAUGES
from services.operator_bridge.orders import api
from services.operator_bridge.permissions import PERMISSIONS
from services.operator_bridge.reconciliation import api as api_reconciliation
from services.operator_bridge.switching import api as api_switch
from shared.http.app import build
from shared.settings.settings import Settings, load


def create_app(settings: Settings | None = None) -> Flask:
    """The web application; raises ConfigurationError where an operator's settings are incomplete."""
    settings = settings or load("operator_bridge")
    interface.check(settings.operators)
    blueprints = [
        api_contracts.blueprint,
        api_operators.blueprint,
        api.orders,
        api.balances,
        api_reconciliation.reconciliations,
        api_reconciliation.differences,
        api_reconciliation.balances,
        api_switch.blueprint,
        api_recovery.blueprint,
    ]
    return build("operator_bridge", settings, blueprints, PERMISSIONS, GAUGES)
