"""The issuer: programmes and their money, prescribers, grants, and the cheques as issued.

It mirrors what becomes of a cheque, and never decides it: the redeemer does.
"""

from flask import Flask

from services.issuer import (
    api_balances,
    api_bulk,
    api_cheques,
    api_envelopes,
    api_grants,
    api_prescribers,
    api_programmes,
)
from services.issuer.metrics import GAUGES
from shared.app import build
from shared.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """The issuer's application."""
    modules = (api_programmes, api_envelopes, api_prescribers, api_grants, api_bulk, api_cheques, api_balances)
    return build("issuer", settings, [blueprint for module in modules for blueprint in module.BLUEPRINTS], GAUGES)
