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
from services.issuer.models import Prescriber
from shared.app import build
from shared.auth import Role
from shared.config import Settings
from shared.entering import Register


def create_app(settings: Settings | None = None) -> Flask:
    """The issuer's application."""
    modules = (api_programmes, api_envelopes, api_prescribers, api_grants, api_bulk, api_cheques, api_balances)
    blueprints = [blueprint for module in modules for blueprint in module.BLUEPRINTS]
    return build("issuer", settings, blueprints, Register(Role.PRESCRIBER, Prescriber))
