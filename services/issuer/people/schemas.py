"""The identity of a beneficiary in a request's body."""

from marshmallow import Schema, ValidationError

from services.issuer.fields import day, text


def _check_name(value: str) -> None:
    if not any(character.isalpha() for character in value):
        raise ValidationError("A name has letters.")


class BeneficiarySchema(Schema):
    """The beneficiary of a grant; stored encrypted and never shown."""

    family_name = text(required=True, validate=[_check_name])
    given_name = text(required=True, validate=[_check_name])
    birth_date = day(required=True)
