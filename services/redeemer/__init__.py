"""The redeemer: training structures, and whether a cheque is spendable or spent. It is the only judge of that.

It knows cheques by a keyed digest of their codes, and never learns who holds them.
"""

from flask import Flask

from services.redeemer import api_recovery as recovery_api
from services.redeemer.cheques import api as cheques_api
from services.redeemer.metrics import GAUGES
from services.redeemer.payments import api as payments_api
from services.redeemer.payments import api_closing as closing_api
from services.redeemer.redemptions import api as redemptions_api
from services.redeemer.redemptions import api_checks as checks_api
from services.redeemer.redemptions import api_lockouts as lockouts_api
from services.redeemer.reports import api_balances as balances_api
from services.redeemer.reports import api_exports as exports_api
from services.redeemer.statements import api as statements_api
from services.redeemer.structures import api as structures_api
from services.redeemer.structures import api_affiliations as affiliations_api
from services.redeemer.structures.models import Structure
from shared.access.login import Register
from shared.access.tokens import Role
from shared.http.app import build
from shared.settings.settings import Settings

_APIS = (
    structures_api,
    lockouts_api,
    affiliations_api,
    recovery_api,
    checks_api,
    redemptions_api,
    cheques_api,
    balances_api,
    exports_api,
    closing_api,
)
BLUEPRINTS = (*(api.blueprint for api in _APIS), *statements_api.BLUEPRINTS, *payments_api.BLUEPRINTS)


def create_app(settings: Settings | None = None) -> Flask:
    """The redeemer's application."""
    return build("redeemer", settings, BLUEPRINTS, GAUGES, Register(Role.STRUCTURE, Structure))
