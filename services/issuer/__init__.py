"""The issuer: programmes and their money, prescribers, grants, and the cheques as issued.

It mirrors what becomes of a cheque, and never decides it: the redeemer does.
"""

from flask import Flask

from services.issuer import api_recovery as recovery
from services.issuer.booklets import api as booklets
from services.issuer.cheques import api as cheques
from services.issuer.funding import api_conventions as conventions
from services.issuer.funding import api_envelopes as envelopes
from services.issuer.grants import api as grants
from services.issuer.grants import api_bulk as bulk_grants
from services.issuer.grants import api_preview as assessments
from services.issuer.lifecycle import api as lifecycle
from services.issuer.lifecycle import api_expiry as expiry
from services.issuer.lifecycle import api_replacements as replacements
from services.issuer.lots import api as lots
from services.issuer.metrics import GAUGES
from services.issuer.notices import api as notices
from services.issuer.prescribers import api as prescribers
from services.issuer.prescribers.models import Prescriber
from services.issuer.privacy import api as privacy
from services.issuer.programmes import api as programmes
from services.issuer.programmes import api_rules as rules
from services.issuer.reports import api as reports
from services.issuer.reports import api_balances as balances
from services.issuer.reports import api_exports as exports
from shared.access.login import Register
from shared.access.tokens import Role
from shared.http.app import build
from shared.settings.settings import Settings

_APIS = (
    programmes,
    rules,
    conventions,
    envelopes,
    prescribers,
    grants,
    bulk_grants,
    assessments,
    booklets,
    cheques,
    lifecycle,
    replacements,
    expiry,
    lots,
    notices,
    balances,
    exports,
    reports,
    privacy,
    recovery,
)
BLUEPRINTS = tuple(blueprint for api in _APIS for blueprint in api.BLUEPRINTS)


def create_app(settings: Settings | None = None) -> Flask:
    """The issuer's application."""
    return build("issuer", settings, BLUEPRINTS, GAUGES, Register(Role.PRESCRIBER, Prescriber))
