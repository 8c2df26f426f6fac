"""What a person may ask: to be told what is held of them, to have it, and to be forgotten."""

from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import RAISE

from services.issuer.people import access_log
from services.issuer.people.identities import Identities, Identity
from services.issuer.people.schemas import BeneficiarySchema
from services.issuer.privacy import erasure, letter, personal_data, retention
from services.issuer.privacy.models import Erasure
from services.issuer.privacy.schemas import (
    ErasedSchema,
    ErasureSchema,
    FoundSchema,
    HeldSchema,
    KeptForSchema,
    RunQuery,
    RunSchema,
)
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page, page_of
from shared.http.request_context import pdf_file, runtime, transaction
from shared.problems import ProblemSchema

people_views = Blueprint("people", __name__, url_prefix="/v1/people", description="What a person may ask.")
retention_views = Blueprint(
    "retention", __name__, url_prefix="/v1", description="How long it is kept who a grant is for."
)
BLUEPRINTS = (people_views, retention_views)


def _identities() -> Identities:
    return Identities(runtime().settings.keys)


def _held(person_id: UUID, action: str) -> dict[str, Any]:
    who = caller()
    with transaction() as session:
        found = personal_data.held(session, _identities(), person_id, who.scope)
        access_log.record(session, action, person_id, str(who))
        return found


@people_views.route("/searches", methods=["POST"])
@roles("admin", own="prescriber")
@people_views.arguments(BeneficiarySchema)
@people_views.response(200, FoundSchema)
@people_views.alt_response(404, schema=ProblemSchema)
def find_person(body: dict[str, Any]) -> dict[str, UUID]:
    """Find a person by who they are; to a prescriber, one whom it granted something. Nobody can list people."""
    who = caller()
    with transaction() as session:
        person_id = personal_data.find(session, _identities(), Identity(**body), who.scope)
        access_log.record(session, "found", person_id, str(who))
        return {"person_id": person_id}


@people_views.route("/<uuid:person_id>")
@roles("admin", own="prescriber")
@people_views.response(200, HeldSchema)
def show_person(person_id: UUID) -> dict[str, Any]:
    """All that is held of a person; to a prescriber, its own grants to them. Who asked is recorded."""
    return _held(person_id, "read")


@people_views.route("/<uuid:person_id>/export.json")
@roles("admin", own="prescriber")
@people_views.response(200, HeldSchema, headers={"Content-Disposition": {"schema": {"type": "string"}}})
def export_person(person_id: UUID) -> tuple[dict[str, Any], dict[str, str]]:
    """The same as a file to hand over (RGPD, articles 15 and 20). Who asked is recorded."""
    return _held(person_id, "exported"), {"Content-Disposition": 'attachment; filename="donnees-personnelles.json"'}


@people_views.route("/<uuid:person_id>/letter.pdf")
@roles("admin", own="prescriber")
@people_views.response(200, content_type="application/pdf")
def write_to_person(person_id: UUID) -> Response:
    """The same as a letter to the person, in French. Who asked is recorded."""
    found = _held(person_id, "letter")
    return pdf_file("donnees-personnelles", letter.document(found, runtime().settings.authority_name))


@people_views.route("/<uuid:person_id>/identity", methods=["PUT"])
@roles("admin", own="prescriber")
@people_views.arguments(BeneficiarySchema)
@people_views.response(200, BeneficiarySchema)
@people_views.alt_response(409, schema=ProblemSchema)
def correct_person(body: dict[str, Any], person_id: UUID) -> dict[str, Any]:
    """Correct who a person is (RGPD, article 16). A prescriber can where nobody else granted them anything."""
    who = caller()
    with transaction() as session:
        personal_data.correct(session, _identities(), person_id, Identity(**body), who.scope)
        access_log.record(session, "corrected", person_id, str(who))
        return body


@people_views.route("/<uuid:person_id>/erasure", methods=["POST"])
@roles("admin", own="prescriber")
@people_views.response(200, ErasedSchema)
@people_views.alt_response(409, schema=ProblemSchema)
def erase_person(person_id: UUID) -> erasure.ErasureResult:
    """Forget a person who asks for it: for good. What was granted and spent stays, without them.

    A prescriber can where nobody else granted them anything; else the département.
    """
    who = caller()
    with transaction() as session:
        done = erasure.erase(session, runtime().settings.keys, person_id, str(who), who.scope)
        access_log.record(session, "erased", person_id, str(who))
        return done


@retention_views.route("/erasures")
@roles("admin")
@retention_views.arguments(PageQuery, location="query")
@retention_views.response(200, page_of(ErasureSchema))
def list_erasures(query: dict[str, Any]) -> dict[str, Any]:
    """How many people were forgotten, when and why, oldest first."""
    with transaction() as session:
        return page(session, erasure.listed(), Erasure.id, query["after"], query["limit"])


@retention_views.route("/retention/runs", methods=["POST"])
@roles("admin")
@retention_views.arguments(RunQuery, location="query", unknown=RAISE)
@retention_views.response(200, RunSchema)
def run_retention(query: dict[str, Any]) -> dict[str, Any]:
    """Forget now those whom their programmes have kept long enough; `dry_run=true` says how many that would be.

    It is done every day by itself. Asking again does no harm.
    """
    with transaction() as session:
        found = retention.due(session)
    if query["dry_run"]:
        return {"dry_run": True, "due": found, "erasure_id": None, "people": 0, "grants": 0, "finished": not found}
    done = retention.run(runtime(), str(caller()))
    return {
        "dry_run": False,
        "due": found,
        "erasure_id": done.erasure_id,
        "people": done.people,
        "grants": done.grants,
        "finished": done.finished,
    }


@retention_views.route("/programmes/<code>/retention", methods=["PUT"])
@roles("admin")
@retention_views.arguments(KeptForSchema)
@retention_views.response(200, KeptForSchema)
def change_retention(body: dict[str, Any], code: str) -> dict[str, int]:
    """Change how long a programme keeps who its grants are for; it counts from the next run on, for all grants."""
    with transaction() as session:
        programme = retention.keep_for(session, code, body["retention_months"])
        return {"retention_months": programme.retention_months}
