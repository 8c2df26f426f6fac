"""The operator bridge: contracts with operators, what each operator knows, what was sent to and heard from it."""

from flask import Flask

from services.operator_bridge import (
    api,
    api_contracts,
    api_operators,
    api_recollections,
    api_reconciliation,
    api_switch,
    interface,
)
from services.operator_bridge.metrics import GAUGES
from services.operator_bridge.permissions import PERMISSIONS
from shared.app import build
from shared.config import Settings, load


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
        api_recollections.blueprint,
    ]
    return build("operator_bridge", settings, blueprints, PERMISSIONS, GAUGES)
