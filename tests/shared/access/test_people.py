"""People log in by an OpenID Connect provider: their SIRET, or a membership, says as what."""

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import jwt
import pytest
from werkzeug.test import TestResponse

from demo.simulators.provider import CLIENT_ID, IDENTITY_PROVIDER, Key, LocalProvider, provider
from shared.access import oidc_provider as providing
from shared.access import token_lockout
from shared.problems import Unavailable
from shared.settings import settings
from tests.harness import ServiceUnderTest
from tests.issuer.office import Office, places
from tests.shared.access.calling import call, eventually_refused

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
CCAS, MAIRIE = "26470003000010", "21470001500016"


@pytest.fixture(scope="module")
def proconnect() -> Iterator[LocalProvider]:
    with provider() as local:
        yield local


@pytest.fixture
def operator_settings(proconnect: LocalProvider) -> Mapping[str, str]:
    return {"OIDC_ISSUER": proconnect.address, "OIDC_CLIENT_IDS": f"another,{CLIENT_ID}"}


@pytest.fixture
def office(issuer: ServiceUnderTest) -> Office:
    """An issuer at which nobody is locked out yet."""
    issuer.app.extensions["souche"].token_lockout = token_lockout.TokenLockout(issuer.runtime)
    return Office(issuer)


Import = Callable[..., list[UUID]]


@pytest.fixture
def prescribers(office: Office) -> Import:
    """Takes prescribers in; those of one call share a SIRET."""

    def take(*source_ids: str, siret: str = CCAS) -> list[UUID]:
        office.made(office.post("/v1/prescribers/imports", places(*source_ids, pivot=siret)), 200)
        items = office.made(office.get("/v1/prescribers"), 200)["items"]
        return [UUID(item["prescriber_id"]) for item in items if item["siret"] == siret]

    return take


def exchange(service: ServiceUnderTest, token: str, **more: Any) -> TestResponse:
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN, **more}
    return service.app.test_client().post("/v1/oauth/token", data=form)


def join(office: Office, subject: str, role: str, scope: UUID | None = None, provider: str = IDENTITY_PROVIDER) -> str:
    body = {"provider": provider, "subject": subject, "role": role, "scope": str(scope) if scope else None}
    made: str = office.made(office.post("/v1/memberships", body))["membership_id"]
    return made


def test_somebody_who_works_for_a_prescriber_is_let_in_as_that_prescriber(
    office: Office, prescribers: Import, proconnect: LocalProvider
) -> None:
    (ccas,) = prescribers("ccas")
    answer = exchange(office.service, proconnect.token("alienor", CCAS))
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert body["scope"] == f"prescriber:{ccas}"
    assert body["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["aud"]) == (f"{IDENTITY_PROVIDER}|alienor", ["issuer"])
    assert "Dupont" not in str(claims)
    assert call(office.service, body["access_token"]).status_code == 200


def test_at_the_redeemer_a_siret_is_a_structures(redeemer: ServiceUnderTest, proconnect: LocalProvider) -> None:
    file = "id,pivot,nom,commune,code_postal,adresse,date_maj,services\none,%s,Asso,Agen,47000,1 rue,2026-01-31,Aide\n"
    redeemer.app.test_client().post(
        "/v1/structures/imports", data=(file % MAIRIE).encode(), content_type="text/csv",
        headers=redeemer.headers("admin"),
    )  # fmt: skip
    assert exchange(redeemer, proconnect.token("jean", MAIRIE)).get_json()["scope"].startswith("structure:")


def test_of_several_places_with_one_siret_one_has_to_be_chosen(
    office: Office, prescribers: Import, proconnect: LocalProvider
) -> None:
    ids = prescribers("ccas", "annexe")
    token = proconnect.token("alienor", CCAS)
    refusal = exchange(office.service, token)
    assert (refusal.status_code, refusal.get_json()["error"]) == (400, "invalid_scope")
    assert {choice["scope"] for choice in refusal.get_json()["choices"]} == {f"prescriber:{place}" for place in ids}
    chosen = exchange(office.service, token, scope=f"prescriber:{ids[1]}")
    assert chosen.get_json()["scope"] == f"prescriber:{ids[1]}"


def test_nobody_chooses_a_place_of_another_siret(
    office: Office, prescribers: Import, proconnect: LocalProvider
) -> None:
    prescribers("ccas")
    (other,) = prescribers("mairie", siret=MAIRIE)
    answer = exchange(office.service, proconnect.token("alienor", CCAS), scope=f"prescriber:{other}")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize("siret", [None, "00000000000000", "99999999999999", "x", ""])
def test_who_is_not_known_is_not_let_in(
    office: Office, prescribers: Import, proconnect: LocalProvider, siret: str | None
) -> None:
    prescribers("ccas", siret="00000000000000")
    answer = exchange(office.service, proconnect.token("alienor", siret))
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_grant")


def test_a_membership_gives_a_role_to_one_person_of_one_identity_provider(
    office: Office, proconnect: LocalProvider
) -> None:
    join(office, "alienor", "finance")
    assert exchange(office.service, proconnect.token("alienor")).get_json()["scope"] == "finance"
    for stranger in (proconnect.token("jean"), proconnect.token("alienor", idp_id="another-provider")):
        assert exchange(office.service, stranger).status_code == 400


def test_without_an_identity_provider_the_providers_address_counts(office: Office, proconnect: LocalProvider) -> None:
    join(office, "alienor", "operations", provider=proconnect.address)
    assert exchange(office.service, proconnect.token("alienor", idp_id=None)).get_json()["scope"] == "operations"


def test_who_is_a_member_and_works_for_a_prescriber_says_as_whom(
    office: Office, prescribers: Import, proconnect: LocalProvider
) -> None:
    prescribers("ccas")
    join(office, "alienor", "admin")
    token = proconnect.token("alienor", CCAS)
    assert exchange(office.service, token).get_json()["error"] == "invalid_scope"
    assert exchange(office.service, token, scope="admin").get_json()["scope"] == "admin"


def test_a_role_that_is_taken_ends_at_once_and_the_same_login_does_not_bring_it_back(
    office: Office, proconnect: LocalProvider
) -> None:
    membership = join(office, "alienor", "finance")
    login = proconnect.token("alienor")
    token = exchange(office.service, login).get_json()["access_token"]
    office.service.client.delete(f"/v1/memberships/{membership}", headers=office.service.headers("admin"))
    eventually_refused(office.service, token)
    join(office, "alienor", "finance")
    assert exchange(office.service, login).get_json()["error_description"] == "This login was revoked: log in again."
    assert exchange(office.service, proconnect.token("alienor")).status_code == 200


def test_the_same_role_is_not_given_twice(office: Office) -> None:
    join(office, "alienor", "finance")
    body = {"provider": IDENTITY_PROVIDER, "subject": "alienor", "role": "finance"}
    assert office.post("/v1/memberships", body).status_code == 409


class TestStrength:
    """What a login has to be made of is a setting: it is looked at, and a statement that does not say is none."""

    @pytest.fixture
    def strict(self, office: Office, prescribers: Import, proconnect: LocalProvider) -> Iterator[Office]:
        prescribers("ccas")
        strict = providing.Provider(proconnect.address, (CLIENT_ID,), levels=("eidas2", "eidas3"), methods=("mfa",))
        before = office.service.app.extensions["souche"].provider
        office.service.app.extensions["souche"].provider = strict
        yield office
        office.service.app.extensions["souche"].provider = before

    @pytest.mark.parametrize(
        ("claims", "expected"),
        [
            ({"acr": "eidas2", "amr": ["pwd", "mfa"]}, 200),
            ({"acr": "eidas1", "amr": ["pwd", "mfa"]}, 400),
            ({"acr": "eidas2", "amr": ["pwd"]}, 400),
            ({"acr": "eidas2"}, 400),
            ({"amr": ["mfa"]}, 400),
            ({"acr": "eidas2", "amr": "mfa"}, 400),
            ({"acr": ["eidas2"], "amr": ["mfa"]}, 400),
            ({}, 400),
        ],
    )
    def test_is_asked_for(
        self, strict: Office, proconnect: LocalProvider, claims: dict[str, Any], expected: int
    ) -> None:
        assert exchange(strict.service, proconnect.token("alienor", CCAS, **claims)).status_code == expected

    def test_is_told_by_the_id_token_where_the_siret_is_told_by_userinfo(
        self, strict: Office, proconnect: LocalProvider
    ) -> None:
        userinfo = proconnect.token("alienor", CCAS)
        enough: dict[str, Any] = {"acr": "eidas2", "amr": ["mfa"]}
        assert exchange(strict.service, userinfo).status_code == 400
        assert exchange(strict.service, userinfo, id_token=proconnect.token("alienor", **enough)).status_code == 200
        for other in (
            proconnect.token("jean", **enough),
            proconnect.token("alienor", idp_id="another", **enough),
            proconnect.token("alienor", aud="another service", **enough),
            proconnect.token("alienor", iat=NOW - 4000, **enough),
            "a.b.c",
        ):
            assert exchange(strict.service, userinfo, id_token=other).status_code == 400

    def test_is_a_setting(self, issuer: ServiceUnderTest, proconnect: LocalProvider) -> None:
        environ = dict(issuer.environ) | {"OIDC_ACR": "eidas2, eidas3", "OIDC_AMR": "mfa"}
        made = providing.Provider.of(settings.load("issuer", environ))
        with pytest.raises(providing.NotAccepted, match="eidas2 or eidas3"):
            made.person(proconnect.token("alienor", CCAS, amr=["mfa"]))
        with pytest.raises(providing.NotAccepted, match="mfa"):
            made.person(proconnect.token("alienor", CCAS, acr="eidas3"))
        assert made.person(proconnect.token("alienor", CCAS, acr="eidas3", amr=["mfa"])).subject == "alienor"


NOW = time.time()
BOMB = base64.urlsafe_b64encode(b'{"kid": ' + b"[" * 20_000 + b"]" * 20_000 + b"}").decode().rstrip("=")[:30_000]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody-else"},
        {"aud": None},
        {"iss": "https://another.example"},
        {"iss": 7},
        {"iss": ["x"]},
        {"sub": 7},
        {"siret": {"x": 1}},
        {"sub": "a\0b"},
        {"sub": "\ud800"},
        {"sub": ""},
        {"idp_id": ""},
        {"idp_id": "a\0b"},
        {"sub": None},
        {"sub": "x" * 256},
        {"exp": NOW - 60},
        {"iat": NOW + 86_400},
        {"iat": NOW - 4000},
        {"iat": "yesterday"},
        {"iat": str(NOW - 4000)},
        {"nbf": NOW + 86_400},
    ],
)
def test_a_token_that_is_not_about_somebody_who_logs_in_here_now_is_refused(
    office: Office, prescribers: Import, proconnect: LocalProvider, claims: dict[str, Any]
) -> None:
    prescribers("ccas")
    answer = exchange(office.service, proconnect.token("alienor", **({"siret": CCAS} | claims)))
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_grant")


def test_clocks_may_be_half_a_minute_apart(office: Office, prescribers: Import, proconnect: LocalProvider) -> None:
    prescribers("ccas")
    for skewed in ({"iat": time.time() + 20}, {"exp": time.time() - 20}):
        assert exchange(office.service, proconnect.token("alienor", CCAS, **skewed)).status_code == 200


def test_a_signature_by_another_key_by_none_or_by_the_published_key_as_a_secret_is_refused(
    office: Office, prescribers: Import, proconnect: LocalProvider
) -> None:
    prescribers("ccas")
    stranger = LocalProvider(proconnect.address, [Key(Key.elliptic().private, "ES256", proconnect.keys[0].key_id)])
    claims = jwt.decode(proconnect.token("alienor", CCAS), options={"verify_signature": False})
    header = {"kid": proconnect.keys[0].key_id}
    unsigned = jwt.encode(claims, "", algorithm="none", headers=header)
    symmetric = jwt.encode(claims, str(proconnect.keys[0].public), algorithm="HS256", headers=header)
    for token in (stranger.token("alienor", CCAS), unsigned, symmetric, "nonsense", "a.b.c", "é", f"{BOMB}.e30.x"):
        answer = exchange(office.service, token)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_grant")


def test_what_is_refused_to_many_locks_nobody_out_at_the_front_end_that_all_share(
    office: Office, prescribers: Import, proconnect: LocalProvider
) -> None:
    prescribers("ccas")
    late = [
        exchange(office.service, proconnect.token("jean", CCAS, exp=NOW - 60)) for _ in range(token_lockout.PER_ADDRESS)
    ]
    assert {answer.status_code for answer in late} == {400}
    assert exchange(office.service, proconnect.token("alienor", CCAS)).status_code == 200


def test_the_provider_rotates_its_keys_and_logins_go_on(
    office: Office, prescribers: Import, proconnect: LocalProvider
) -> None:
    prescribers("ccas")
    fresh = providing.Provider(proconnect.address, (CLIENT_ID,))
    before = proconnect.token("alienor", CCAS)
    assert fresh.person(before).siret == CCAS
    proconnect.keys.insert(0, Key.rsa())
    fresh._tried_at -= providing._AGAIN_SECONDS
    assert fresh.person(proconnect.token("alienor", CCAS)).siret == CCAS
    assert fresh.person(before).siret == CCAS


def test_unknown_keys_are_not_looked_for_again_and_again(proconnect: LocalProvider) -> None:
    fresh, stranger = providing.Provider(proconnect.address, (CLIENT_ID,)), LocalProvider(proconnect.address)
    questions = proconnect.key_requests
    for _ in range(20):
        with pytest.raises(providing.NotAccepted):
            fresh.person(stranger.token("mallory", CCAS))
    assert proconnect.key_requests - questions == 1


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_weak_key_of_the_provider_is_not_believed() -> None:
    with provider() as weak:
        weak.keys = [Key.rsa(1024)]
        with pytest.raises(providing.NotAccepted):
            providing.Provider(weak.address, (CLIENT_ID,)).person(weak.token("alienor", CCAS))


def test_keys_of_whoever_calls_itself_otherwise_are_not_believed(proconnect: LocalProvider) -> None:
    """Or one provider's metadata, at another's address, would have its keys taken for the other's."""
    otherwise = proconnect.address.replace("127.0.0.1", "localhost")
    token = proconnect.token("alienor", CCAS, iss=otherwise)
    with pytest.raises(Unavailable):
        providing.Provider(otherwise, (CLIENT_ID,)).person(token)
    assert providing.Provider(proconnect.address, (CLIENT_ID,)).person(proconnect.token("alienor")).siret is None


def test_while_the_provider_is_down_logins_go_on_with_the_keys_that_are_known() -> None:
    with provider() as local:
        provider_under_test = providing.Provider(local.address, (CLIENT_ID,))
        token = local.token("alienor", CCAS)
        provider_under_test.person(token)
    provider_under_test._read_at -= providing._KEYS_SECONDS + 1
    assert provider_under_test.person(token).subject == "alienor"


def test_while_the_provider_is_down_and_was_never_asked_the_answer_is_to_ask_again(office: Office) -> None:
    with provider() as local:
        token = local.token("alienor", CCAS)
    before = office.service.app.extensions["souche"].provider
    office.service.app.extensions["souche"].provider = providing.Provider(local.address, (CLIENT_ID,))
    answer = exchange(office.service, token)
    office.service.app.extensions["souche"].provider = before
    assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")
