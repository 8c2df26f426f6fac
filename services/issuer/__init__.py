"""The issuer: programmes and their money, prescribers, grants, and the cheques as issued.

It mirrors what becomes of a cheque, and never decides it: the redeemer does.
"""

from flask import Flask

from services.issuer import api_recovery as recovery_api
from services.issuer.booklets import api as booklets_api
from services.issuer.cheques import api as cheques_api
from services.issuer.funding import api_conventions as conventions_api
from services.issuer.funding import api_envelopes as envelopes_api
from services.issuer.grants import api as grants_api
from services.issuer.grants import api_bulk as bulk_grants_api
from services.issuer.lifecycle import api as lifecycle_api
from services.issuer.lifecycle import api_expiry as expiry_api
from services.issuer.lots import api as lots_api
from services.issuer.metrics import GAUGES
from services.issuer.notices import api as notices_api
from services.issuer.prescribers import api as prescribers_api
from services.issuer.prescribers.models import Prescriber
from services.issuer.privacy import api as privacy_api
from services.issuer.programmes import api as programmes_api
from services.issuer.reports import api as reports_api
from shared.access.login import Register
from shared.access.tokens import Role
from shared.http.app import build
from shared.settings.settings import Settings

_APIS = (
    programmes_api,
    conventions_api,
    envelopes_api,
    prescribers_api,
    grants_api,
    bulk_grants_api,
    booklets_api,
    cheques_api,
    lifecycle_api,
    expiry_api,
    lots_api,
    notices_api,
    reports_api,
    privacy_api,
    recovery_api,
)
BLUEPRINTS = tuple(blueprint for api in _APIS for blueprint in api.BLUEPRINTS)


def create_app(settings: Settings | None = None) -> Flask:
    """The issuer's application."""
    return build("issuer", settings, BLUEPRINTS, GAUGES, Register(Role.PRESCRIBER, Prescriber))
