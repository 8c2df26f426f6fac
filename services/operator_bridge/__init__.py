"""The operator bridge: contracts with operators, what each operator knows, what was sent to and heard from it."""

from flask import Flask

from services.operator_bridge.contracts import api as contracts
from services.operator_bridge.contracts import api_recovery as contracts_recovery
from services.operator_bridge.inbound import api as inbound
from services.operator_bridge.metrics import GAUGES
from services.operator_bridge.operators import lookup
from services.operator_bridge.orders import api as orders
from services.operator_bridge.reconciliation import api as reconciliation
from services.operator_bridge.reconciliation import api_balances as reconciliation_balances
from services.operator_bridge.reconciliation import api_discrepancies as reconciliation_discrepancies
from services.operator_bridge.switching import api as switching
from shared.http.app import build
from shared.settings.settings import Settings, load

BLUEPRINTS = (
    contracts.blueprint,
    contracts_recovery.blueprint,
    orders.orders,
    inbound.blueprint,
    inbound.polls,
    reconciliation.reconciliations,
    reconciliation.comparisons,
    reconciliation_discrepancies.blueprint,
    reconciliation_balances.blueprint,
    reconciliation_balances.daily,
    switching.blueprint,
)


def create_app(settings: Settings | None = None) -> Flask:
    """The web application; raises ConfigurationError where an operator's settings are incomplete."""
    settings = settings or load("operator_bridge")
    lookup.check(settings.operators)
    return build("operator_bridge", settings, BLUEPRINTS, GAUGES)
