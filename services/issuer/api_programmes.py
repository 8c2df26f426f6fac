"""Programmes and their assessment rules over HTTP."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from services.issuer import assessing, programmes
from services.issuer.assessing import Outcome
from services.issuer.models import ON_ISSUE, ON_REGISTRATION, Programme
from services.issuer.schemas import MOST_CENTS, MOST_FACE_VALUE_CENTS, cents, day, programme_code, text
from shared.app import ProblemSchema
from shared.auth import roles
from shared.idempotency import idempotent
from shared.paging import PageQuery, page, page_of
from shared.web import transaction

programme_views = Blueprint(
    "programmes", __name__, url_prefix="/v1/programmes", description="What cheques are for, and their rules."
)
assessment_views = Blueprint(
    "assessments", __name__, url_prefix="/v1/assessments", description="What a programme would grant, without effect."
)
BLUEPRINTS = (programme_views, assessment_views)


class ValiditySchema(Schema):
    """How long a cheque may be spent: so many months from the grant, or until one day for all."""

    months = fields.Int(strict=True, validate=validate.Range(1, 120))
    until = day()

    @validates_schema
    def _check_one(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise ValidationError('Either {"months": …} or {"until": …}.')


class QuestionSchema(Schema):
    """A question and the points that each answer gives."""

    key = text(60, required=True)
    label = text(500, required=True)
    answers = fields.Dict(
        keys=text(),
        values=fields.Int(strict=True, validate=validate.Range(-1000, 1000)),
        required=True,
        validate=validate.Length(min=1),
    )


class AmountSchema(Schema):
    """An amount from a number of points on; 0 cents: nothing is granted."""

    from_points = fields.Int(strict=True, required=True, validate=validate.Range(-100_000, 100_000))
    cents = fields.Int(strict=True, required=True, validate=validate.Range(0, MOST_CENTS))


class RuleSchema(Schema):
    """From answers to points, from points to an amount."""

    questions = fields.List(fields.Nested(QuestionSchema), required=True, validate=validate.Length(1, 100))
    amounts = fields.List(fields.Nested(AmountSchema), required=True, validate=validate.Length(1, 100))


class ProgrammeSchema(Schema):
    """A programme's terms."""

    code = programme_code(required=True)
    name = text(required=True)
    face_value_cents = cents(MOST_FACE_VALUE_CENTS, load_default=1000)
    minimum_grant_cents = cents(load_default=5000)
    validity = fields.Nested(ValiditySchema, required=True)
    grace_days = fields.Int(
        strict=True,
        load_default=0,
        validate=validate.Range(0, 3660),
        metadata={"description": "After its validity a cheque may be presented for so long."},
    )
    spendable = fields.Str(load_default=ON_ISSUE, validate=validate.OneOf((ON_ISSUE, ON_REGISTRATION)))
    services = fields.List(text(), load_default=list, metadata={"description": "Empty: any."})
    territory = fields.List(
        fields.Str(validate=validate.Regexp(r"[0-9AB]{1,5}\Z")),
        load_default=list,
        metadata={"description": "Beginnings of postcodes or INSEE codes. Empty: anywhere."},
    )
    assessment = fields.Nested(RuleSchema, load_default=None, allow_none=True)


class AssessmentSchema(Schema):
    """A person's situation, by question of the programme."""

    programme = programme_code(required=True)
    answers = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True)


class OutcomeSchema(Schema):
    """What would be granted: 0 where nothing."""

    amount_cents = fields.Int(required=True)
    points = fields.Int(required=True, allow_none=True)
    reason = fields.Str(required=True)


def _terms(body: dict[str, Any]) -> dict[str, Any]:
    validity = body.pop("validity")
    return body | {"valid_months": validity.get("months"), "valid_until": validity.get("until")}


def _shown(programme: Programme) -> dict[str, Any]:
    validity = {"until": programme.valid_until} if programme.valid_until else {"months": programme.valid_months}
    columns = {name: getattr(programme, name) for name in ProgrammeSchema().fields if name != "validity"}
    return columns | {"validity": validity}


@programme_views.route("", methods=["POST"])
@roles("admin")
@idempotent()
@programme_views.arguments(ProgrammeSchema)
@programme_views.response(201, ProgrammeSchema)
@programme_views.alt_response(409, schema=ProblemSchema)
def create_programme(body: dict[str, Any]) -> dict[str, Any]:
    """Add a programme."""
    with transaction() as session:
        return _shown(programmes.create(session, _terms(body)))


@programme_views.route("")
@roles("admin", "prescriber", "finance", "operations")
@programme_views.arguments(PageQuery, location="query")
@programme_views.response(200, page_of(ProgrammeSchema))
def list_programmes(query: dict[str, Any]) -> dict[str, Any]:
    """The programmes, in the order in which they were added."""
    with transaction() as session:
        found = page(session, programmes.every(), Programme.id, query["after"], query["limit"])
        return found | {"items": [_shown(programme) for programme in found["items"]]}


@programme_views.route("/<code>")
@roles("admin", "prescriber", "finance", "operations")
@programme_views.response(200, ProgrammeSchema)
@programme_views.alt_response(404, schema=ProblemSchema)
def show_programme(code: str) -> dict[str, Any]:
    """One programme with its rules."""
    with transaction() as session:
        return _shown(programmes.find(session, code))


@assessment_views.route("", methods=["POST"])
@roles("prescriber", "admin")
@assessment_views.arguments(AssessmentSchema)
@assessment_views.response(200, OutcomeSchema)
@assessment_views.alt_response(409, schema=ProblemSchema)
@assessment_views.alt_response(422, schema=ProblemSchema)
def assess(body: dict[str, Any]) -> Outcome:
    """What the programme would grant for these answers. Nothing is kept."""
    with transaction() as session:
        return assessing.assess(programmes.named(session, body["programme"]), body["answers"])
