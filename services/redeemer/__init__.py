"""The redeemer: training structures, and whether a cheque is spendable or spent. It alone decides that.

It knows cheques by a keyed digest of their codes, and never learns who holds them.
"""

from flask import Flask

from services.redeemer import api_recovery
from services.redeemer.cheques import api as cheques
from services.redeemer.metrics import GAUGES
from services.redeemer.payments import api as payments
from services.redeemer.redemptions import api as redemptions
from services.redeemer.reports import api as reports
from services.redeemer.statements import api as statements
from services.redeemer.structures import api as structures
from services.redeemer.structures.models import Structure
from shared.access.login import Register
from shared.access.tokens import Role
from shared.http.app import build
from shared.settings.settings import Settings

_APIS = (structures, redemptions, api_recovery, cheques, reports, payments, statements)
BLUEPRINTS = tuple(blueprint for api in _APIS for blueprint in api.BLUEPRINTS)


def create_app(settings: Settings | None = None) -> Flask:
    """The redeemer's application."""
    return build("redeemer", settings, BLUEPRINTS, GAUGES, Register(Role.STRUCTURE, Structure))
