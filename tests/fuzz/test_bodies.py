"""Bodies that are packed, too long or of another kind are refused by every route that takes one."""

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.access.tokens import reach_of
from shared.limiting.request_limits import KIB, MIB, body_limit_of
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


@pytest.mark.parametrize("name", SERVICES)
def test_every_route_takes_bodies_of_its_own_size(service: Callable[[str], ServiceUnderTest], name: str) -> None:
    asked = service(name)
    sizes = {}
    for rule in asked.app.url_map.iter_rules():
        view = asked.app.view_functions[rule.endpoint]
        if "POST" not in (rule.methods or ()) or rule.arguments or not (roles := list(reach_of(view) or ())):
            continue
        size = sizes[rule.rule] = body_limit_of(view)
        scope = new_id() if roles[0] in ("prescriber", "structure") else None
        headers = asked.headers(roles[0], scope, subject="operator_bridge", key="k")
        headers |= {"Content-Type": "application/json"}
        client = asked.app.test_client()
        assert client.post(rule.rule, data=b"x" * size, headers=headers).status_code != 413, rule.rule
        refused = client.post(rule.rule, data=b"x" * (size + 1), headers=headers)
        assert (refused.status_code, refused.get_json()["type"]) == (413, "urn:souche:too-large"), rule.rule
        told = f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"
        assert refused.get_json()["detail"] == f"At most {told} are taken at once. Send it in parts."
    large = {path for path, size in sizes.items() if size > MIB}
    assert (
        large
        == {
            "issuer": {"/v1/prescribers/imports", "/v1/grants/bulk"},
            "redeemer": {"/v1/structures/imports", "/v1/payments/imports"},
            "operator_bridge": set(),
        }[name]
    )


def schemas_of(document: dict[str, Any], schema: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema of a document and all within it, each with its place."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from schemas_of(document, document["components"]["schemas"][name], place)
        return
    yield place, schema
    for name, inner in schema.get("properties", {}).items():
        if not inner.get("readOnly"):
            yield from schemas_of(document, inner, f"{place}.{name}")
    for kind in ("items", "additionalProperties"):
        if isinstance(schema.get(kind), dict):
            yield from schemas_of(document, schema[kind], f"{place}[]")
    for kind in ("allOf", "anyOf", "oneOf"):
        for inner in schema.get(kind, ()):
            yield from schemas_of(document, inner, place)


def bodies_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a JSON body that a service takes, with its place."""
    for path, item in document["paths"].items():
        for method in TAKING:
            content = item.get(method, {}).get("requestBody", {}).get("content", {})
            if "application/json" in content:
                yield from schemas_of(document, content["application/json"]["schema"], f"{method} {path} ")


@pytest.mark.parametrize("name", SERVICES)
def test_each_list_and_dictionary_of_a_body_has_a_greatest_length(
    service: Callable[[str], ServiceUnderTest], name: str
) -> None:
    document = service(name).client.get("/openapi.json").get_json()
    found = list(bodies_of(document))
    assert len(found) > 20
    endless = [place for place, schema in found if schema.get("type") == "array" and "maxItems" not in schema]
    endless += [
        place
        for place, schema in found
        if isinstance(schema.get("additionalProperties"), dict) and "maxProperties" not in schema
    ]
    assert not endless


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVICES)
def test_what_is_wrong_in_ten_thousand_ways_gets_a_short_answer(
    service: Callable[[str], ServiceUnderTest], name: str
) -> None:
    asked = service(name)
    document = asked.client.get("/openapi.json").get_json()
    lists = {place.rpartition(".")[2] for place, schema in bodies_of(document) if schema.get("type") == "array"}
    wrong: list[dict[str, Any]] = [
        {f"strange-{number}": 1 for number in range(1_500)},
        {"x" * 30_000: 1},
        *({name: [{}] * 10_000} for name in lists),
        *({name: [{}] * 49} for name in lists),
    ]
    for method, path, roles in taking(asked):
        if path in ("/v1/grants/bulk",) or path.endswith("/imports"):
            continue
        scope = new_id() if roles[0] in ("prescriber", "structure") else None
        for body in wrong:
            headers = asked.headers(roles[0], scope, subject="operator_bridge", key="k")
            answer = asked.app.test_client().open(path, method=method, json=body, headers=headers)
            assert answer.status_code < 500, path
            assert len(answer.data) < 8 * 1024, (path, next(iter(body)))
