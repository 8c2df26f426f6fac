"""Bodies that are packed, too long or of another kind are refused by every route that takes one."""

import gzip
from collections.abc import Callable

import pytest

from shared.settings.settings import SERVICES
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest

TAKING = ("post", "put", "patch")


def taking(service: ServiceUnderTest) -> list[tuple[str, str, list[str]]]:
    """The method, address and roles of each route that takes a body from somebody who is known."""
    paths = service.client.get("/openapi.json").get_json()["paths"]
    return [
        (method, path.replace("{code}", "pass").replace("{", "").replace("}", ""), item[method]["x-roles"])
        for path, item in paths.items()
        for method in TAKING
        if "x-roles" in item.get(method, {}) and "{" not in path.replace("{code}", "")
    ]


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip", "GZIP"])
def test_a_packed_body_is_refused_whatever_is_in_it(
    service: Callable[[str], ServiceUnderTest], name: str, encoding: str
) -> None:
    asked = service(name)
    bomb = gzip.compress(b"[" * 1_000_000)
    routes = taking(asked)
    assert len(routes) > 5
    for method, path, roles in routes:
        scope = new_id() if roles[0] in ("prescriber", "structure") else None
        who = asked.headers(roles[0], scope, subject="operator_bridge")  # the one service that may ask for codes
        headers = who | {"Content-Encoding": encoding, "Content-Type": "application/json"}
        answer = asked.app.test_client().open(path, method=method, data=bomb, headers=headers)
        assert (answer.status_code, answer.get_json()["type"]) == (415, "urn:souche:encoded"), path
        assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(("name", "path"), [("operator_bridge", "/v1/operators/docaposte/webhooks"),
                                            ("issuer", "/v1/oauth/token")])  # fmt: skip
def test_the_open_doors_take_no_packed_body_either(
    service: Callable[[str], ServiceUnderTest], name: str, path: str
) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = service(name).app.test_client().post(path, data=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415


def test_a_body_beyond_all_bounds_is_refused(issuer: ServiceUnderTest) -> None:
    body = b'{"code": "' + b"x" * (17 * 1024 * 1024) + b'"}'
    for path in ("/v1/programmes", "/v1/prescribers/imports", "/v1/grants/bulk"):
        headers = issuer.headers("admin") | {"Content-Type": "text/csv" if "import" in path else "application/json"}
        answer = issuer.app.test_client().post(path, data=body, headers=headers)
        assert (answer.status_code, answer.get_json()["type"]) == (413, "urn:souche:too-large"), path
