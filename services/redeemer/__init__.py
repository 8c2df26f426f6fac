"""The redeemer: training structures, and whether a cheque is spendable or spent. It is the only judge of that.

It knows cheques by a keyed digest of their codes, and never learns who holds them.
"""

from flask import Flask

from services.redeemer import api_recovery
from services.redeemer.cheques import api
from services.redeemer.metrics import GAUGES
from services.redeemer.payments import api as api_payments
from services.redeemer.redemptions import api as api_redemptions
from services.redeemer.redemptions import api_checks, api_lockouts
from services.redeemer.reports import api_balances, api_exports
from services.redeemer.statements import api as api_statements
from services.redeemer.structures import api as api_structures
from services.redeemer.structures import api_affiliations
from services.redeemer.structures.models import Structure
from shared.access.login import Register
from shared.access.tokens import Role
from shared.http.app import build
from shared.settings.settings import Settings

_TILLS = (api_checks, api_redemptions, api, api_balances, api_exports)
_MODULES = (api_structures, api_lockouts, api_affiliations, api_recovery, *_TILLS)
_MONEY = (*api_statements.BLUEPRINTS, *api_payments.BLUEPRINTS)
BLUEPRINTS = (*(module.blueprint for module in _MODULES), *_MONEY)


def create_app(settings: Settings | None = None) -> Flask:
    """The redeemer's application."""
    return build("redeemer", settings, BLUEPRINTS, GAUGES, Register(Role.STRUCTURE, Structure))
