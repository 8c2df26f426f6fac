"""What a person may ask over HTTP: to see what is held of them, to have it, and to be forgotten; and the retention."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint
from marshmallow import RAISE, Schema, fields, validate

from services.issuer.cheques.models import STATES
from services.issuer.people import access_log
from services.issuer.people.identities import Identities, Identity
from services.issuer.people.schemas import BeneficiarySchema
from services.issuer.privacy import erasure, letter, personal_data, retention
from services.issuer.privacy.models import GROUNDS
from shared.access.tokens import caller, roles
from shared.database.paging import PageQuery, page_of
from shared.http.request_context import pdf_file, runtime, transaction
from shared.problems import ProblemSchema

people_views = Blueprint("people", __name__, url_prefix="/v1/people", description="What a person may ask.")
retention_views = Blueprint(
    "retention", __name__, url_prefix="/v1", description="How long it is kept who a grant is for."
)
BLUEPRINTS = (people_views, retention_views)


class FoundSchema(Schema):
    """The row of a person, which is its name from now on: names stay out of addresses."""

    person_id = fields.UUID(required=True)


class HeldChequeSchema(Schema):
    cheque_id = fields.UUID(required=True)
    value_cents = fields.Int(required=True)
    state = fields.Str(required=True, validate=validate.OneOf(STATES))
    redeemed_on = fields.Date(required=True, allow_none=True)
    structure_id = fields.UUID(required=True, allow_none=True)
    structure = fields.Str(required=True, allow_none=True)


class HeldGrantSchema(Schema):
    grant_id = fields.UUID(required=True)
    programme = fields.Str(required=True)
    programme_name = fields.Str(required=True)
    prescriber_id = fields.UUID(required=True)
    prescriber = fields.Str(required=True)
    granted_on = fields.Date(required=True)
    valid_until = fields.Date(required=True)
    presentable_until = fields.Date(required=True)
    amount_cents = fields.Int(required=True)
    target_public = fields.Str(required=True, allow_none=True)
    points = fields.Int(required=True, allow_none=True)
    rule_version = fields.Int(required=True, allow_none=True)
    reason = fields.Str(required=True)
    exception_reason = fields.Str(required=True, allow_none=True)
    reference = fields.Str(required=True, allow_none=True)
    previous_grants = fields.Int(required=True)
    lot = fields.Str(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)
    last_contact_on = fields.Date(required=True, metadata={"description": "With this programme, whoever granted."})
    kept_until = fields.Date(
        required=True, metadata={"description": "From this day on the grant does not say any more whose it is."}
    )
    cheques = fields.List(fields.Nested(HeldChequeSchema), required=True)


class HeldRequestSchema(Schema):
    """A cancellation, or a replacement where it has a cause, that was asked for some of the person's cheques."""

    cancellation_id = fields.UUID(required=True)
    reason = fields.Str(required=True)
    cause = fields.Str(required=True, allow_none=True)
    requested_at = fields.AwareDateTime(required=True)
    cheque_ids = fields.List(fields.UUID(), required=True)


class HeldNoticeSchema(Schema):
    kind = fields.Str(required=True)
    grant_id = fields.UUID(required=True)
    posted_at = fields.AwareDateTime(required=True)


class HeldSchema(Schema):
    """All that is held of a person. Codes are not: they are in the person's hand, and are cash."""

    person_id = fields.UUID(required=True)
    told_at = fields.AwareDateTime(required=True)
    identity = fields.Nested(BeneficiarySchema, required=True)
    last_contact_on = fields.Date(required=True)
    grants = fields.List(fields.Nested(HeldGrantSchema), required=True)
    requests = fields.List(fields.Nested(HeldRequestSchema), required=True)
    notices = fields.List(fields.Nested(HeldNoticeSchema), required=True)
    grants_of_others = fields.Int(
        required=True, metadata={"description": "Grants of other prescribers, which only the département may tell."}
    )


class ErasureSchema(Schema):
    erasure_id = fields.UUID(required=True, attribute="id")
    ground = fields.Str(required=True, validate=validate.OneOf(GROUNDS))
    asked_by = fields.Str(required=True)
    erased_at = fields.AwareDateTime(required=True)
    people = fields.Int(required=True, metadata={"description": "Identities that are gone."})
    grants = fields.Int(required=True, metadata={"description": "Grants that do not say any more whose they are."})


class ErasedSchema(Schema):
    erasure_id = fields.UUID(required=True, attribute="erasure.id")
    grants = fields.Int(required=True, attribute="erasure.grants")
    spendable_number = fields.Int(
        required=True, metadata={"description": "Cheques not spent yet: whoever holds them can still spend them."}
    )
    spendable_cents = fields.Int(required=True)


class RunQuery(Schema):
    dry_run = fields.Bool(
        load_default=False, metadata={"description": "Only say who would be forgotten, in numbers: no effect at all."}
    )


class DueSchema(Schema):
    programme = fields.Str(required=True)
    last_contact_until = fields.Date(required=True, metadata={"description": "Whose last contact was by this day."})
    people = fields.Int(required=True)
    grants = fields.Int(required=True)


class RunSchema(Schema):
    dry_run = fields.Bool(required=True)
    due = fields.List(fields.Nested(DueSchema), required=True)
    erasure_id = fields.UUID(required=True, allow_none=True)
    people = fields.Int(required=True, metadata={"description": "Identities that are gone."})
    grants = fields.Int(required=True)
    finished = fields.Bool(required=True, metadata={"description": "False: there was too much for one go, ask again."})


class KeptForSchema(Schema):
    retention_months = fields.Int(required=True, strict=True, validate=validate.Range(1, 120))


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
        return erasure.find_page(session, query)


@retention_views.route("/retention/runs", methods=["POST"])
@roles("admin")
@retention_views.arguments(RunQuery, location="query", unknown=RAISE)
@retention_views.response(200, RunSchema)
def run_retention(query: dict[str, Any]) -> dict[str, Any]:
    """Forget now those whom their programmes have kept long enough; `dry_run=true` says how many that would be.

    It is done every day by itself. Asking again does no harm.
    """
    dry_run = query["dry_run"]
    with transaction() as session:
        due = retention.due(session)
    run = retention.Run() if dry_run else retention.run(runtime(), str(caller()))
    return {**asdict(run), "dry_run": dry_run, "due": due, "finished": not due if dry_run else run.finished}


@retention_views.route("/programmes/<code>/retention", methods=["PUT"])
@roles("admin")
@retention_views.arguments(KeptForSchema)
@retention_views.response(200, KeptForSchema)
def change_retention(body: dict[str, Any], code: str) -> dict[str, int]:
    """Change how long a programme keeps who its grants are for; it counts from the next run on, for all grants."""
    with transaction() as session:
        programme = retention.keep_for(session, code, body["retention_months"])
        return {"retention_months": programme.retention_months}
