"""What is sealed and by what it is known again."""

import re
import secrets
from datetime import date
from uuid import uuid4

import pytest

from services.issuer.cheques.codes import Codes
from services.issuer.cheques.models import Cheque
from services.issuer.people.identities import Identities, Identity, normalised
from shared.values import cheque_code
from shared.values.encryption import CannotOpen
from tests.issuer.office import Office, ids

DAY = date(1961, 3, 9)


def keys(*names: str) -> dict[str, dict[str, bytes]]:
    """Fresh secret keys of every kind, by these ids."""
    kinds = ("CODE_DIGEST_KEY", "CODE_ENCRYPTION_KEYS", "IDENTITY_DIGEST_KEY", "IDENTITY_ENCRYPTION_KEYS")
    return {kind: {name: secrets.token_bytes(32) for name in names} for kind in kinds}


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("DUPONT", "dupont"),
        ("  Le   Goff ", "le goff"),
        ("Le-Goff", "le goff"),
        ("d’Étampes", "d etampes"),
        ("D'ETAMPES", "d etampes"),
        ("Cœur", "coeur"),
        ("Strauß", "strauss"),
        ("Nguyễn", "nguyen"),
        ("E\u0301lise", "elise"),
        ("Łukasz", "lukasz"),
        ("محمد", "محمد"),
    ],
)
def test_names_are_compared_without_accents_case_and_punctuation(written: str, compared: str) -> None:
    assert normalised(written) == compared
    assert normalised(compared) == compared


def test_a_persons_digest_depends_on_the_key_both_names_and_the_day() -> None:
    first, other = Identities(keys("k")), Identities(keys("k"))
    person = Identity("Le Goff", "Anne", DAY)
    different = [
        Identity("Le", "Goff Anne", DAY),
        Identity("Anne", "Le Goff", DAY),
        Identity("Le Goff", "Anne", date(1961, 9, 3)),
    ]
    assert first.digest(person) == first.digest(Identity("LE GOFF", "anne", DAY))
    assert len({first.digest(somebody) for somebody in (person, *different)} | {other.digest(person)}) == 5


def test_a_code_opens_after_its_key_was_rotated_and_only_for_its_cheque() -> None:
    old, new = keys("old"), keys("new")
    minted = Codes(old).mint(1000, uuid4(), "spendable")
    rotated = Codes(new | {"CODE_ENCRYPTION_KEYS": new["CODE_ENCRYPTION_KEYS"] | old["CODE_ENCRYPTION_KEYS"]})
    stored = Cheque(id=minted.cheque_id, sealed_code=minted.sealed_code)
    assert rotated.open(stored) == minted.code
    with pytest.raises(CannotOpen):
        rotated.open(Cheque(id=uuid4(), sealed_code=minted.sealed_code))
    with pytest.raises(CannotOpen):
        Codes(new).open(stored)


def test_a_digest_is_made_with_the_current_key() -> None:
    both = keys("current", "former")
    minted = Codes(both).mint(1000, uuid4(), "spendable")
    current = both["CODE_DIGEST_KEY"]["current"]
    assert minted.digest == cheque_code.digest(cheque_code.normalise(minted.code), current).hex()


def test_codes_are_for_services_and_those_who_print_them(office: Office) -> None:
    office.envelope(100_000)
    grant = office.grant()
    unknown = str(uuid4())
    body = {"cheque_ids": [*ids(grant)[:2], unknown]}
    codes = office.made(office.post("/v1/codes", body, "service", subject="operator_bridge"), 200)["codes"]
    assert {code["cheque_id"] for code in codes} == set(ids(grant)[:2])
    exposed = office.service.client.get("/metrics", headers=office.service.headers("operations")).get_data(as_text=True)
    [counted] = re.findall(r"^souche_codes_revealed_total (\d+)", exposed, re.MULTILINE)
    assert int(counted) >= len(codes)
    assert office.post("/v1/codes", body, "service", subject="redeemer").status_code == 403
    for role in ("admin", "finance", "operations"):
        assert office.post("/v1/codes", body, role).status_code == 403
    assert (
        office.post("/v1/codes", {"cheque_ids": [unknown] * 1001}, "service", subject="operator_bridge").status_code
        == 422
    )
    for role, status in {"admin": 200, "finance": 403, "operations": 403, "service": 403}.items():
        assert office.get(f"/v1/grants/{grant['grant_id']}/codes", role).status_code == status
