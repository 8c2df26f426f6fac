"""The issuer: programmes and their money, prescribers, grants, and the cheques as issued.

It mirrors what becomes of a cheque, and never decides it: the redeemer does.
"""

from flask import Flask

from services.issuer import api_recovery
from services.issuer.booklets import api
from services.issuer.funding import api_conventions, api_envelopes
from services.issuer.grants import api as api_grants
from services.issuer.grants import api_bulk
from services.issuer.lifecycle import api as api_cheques
from services.issuer.lifecycle import api_replacements
from services.issuer.lots import api as api_lots
from services.issuer.metrics import GAUGES
from services.issuer.notices import api as api_notices
from services.issuer.permissions import PERMISSIONS
from services.issuer.prescribers import api as api_prescribers
from services.issuer.prescribers.models import Prescriber
from services.issuer.privacy import api as api_people
from services.issuer.programmes import api as api_programmes
from services.issuer.programmes import api_rules
from services.issuer.reports import api as api_reports
from services.issuer.reports import api_balances, api_exports
from shared.access.login import Register
from shared.access.tokens import Role
from shared.http.app import build
from shared.settings.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """The issuer's application."""
    modules = (
        api_programmes,
        api_rules,
        api_conventions,
        api_envelopes,
        api_prescribers,
        api_grants,
        api,
        api_bulk,
        api_cheques,
        api_notices,
        api_lots,
        api_replacements,
        api_balances,
        api_exports,
        api_reports,
        api_people,
        api_recovery,
    )
    blueprints = [blueprint for module in modules for blueprint in module.BLUEPRINTS]
    return build("issuer", settings, blueprints, PERMISSIONS, GAUGES, Register(Role.PRESCRIBER, Prescriber))
