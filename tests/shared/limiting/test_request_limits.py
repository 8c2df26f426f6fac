"""What is nested, long or odd without need is refused before anything reads it; what is not is left alone."""

import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.limiting import request_limits
from shared.limiting.request_limits import MAX_DEPTH, Malformed
from tests.harness import ServiceUnderTest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def depth(value: object) -> int:
    inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(VALUES)
def test_json_is_taken_whatever_its_texts_hold(value: object) -> None:
    for body in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=2)):
        if depth(value) <= MAX_DEPTH:
            request_limits.check_json(body.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_taken_or_refused_and_nothing_else(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        request_limits.check_json(body)


def test_texts_do_not_count_as_brackets() -> None:
    request_limits.check_json(json.dumps({"reason": "[" * 500 + '\\"' + "{" * 500}).encode())


@pytest.mark.parametrize(
    ("opened", "closed", "levels"), [(b"[", b"]", 1), (b'{"a":', b"}", 1), (b'[{"a":', b"}]", 2), (b'{"a":[', b"]}", 2)]
)
def test_json_of_the_greatest_depth_is_taken_and_deeper_is_not(opened: bytes, closed: bytes, levels: int) -> None:
    times = MAX_DEPTH // levels
    request_limits.check_json(opened * times + b"1" + closed * times)
    with pytest.raises(Malformed, match="nests deeper"):
        request_limits.check_json(opened * (times + 1) + b"1" + closed * (times + 1))


@pytest.mark.parametrize(
    "bomb",
    [b"[" * 8_000_000, b'{"a":' * 1_000_000, b"[" * 4_000_000 + b"]" * 4_000_000, b"[{" * 2_000_000, b'"' * 8_000_001],
)
def test_a_bomb_is_refused_in_no_time(bomb: bytes) -> None:
    began = time.thread_time()
    with contextlib.suppress(Malformed):
        request_limits.check_json(bomb)
    assert time.thread_time() - began < 2.0


def _refuse_or_parse(body: bytes) -> None:
    """Does with a body what a service does: checks it, and parses it if the check lets it pass."""
    with contextlib.suppress(ValueError, Malformed):
        request_limits.check_json(body)
        json.loads(body)


def _seconds(body: bytes) -> float:
    """The least of three measurements, as another process may take the processor in any of them."""
    measured = []
    for _ in range(3):
        began = time.thread_time()
        _refuse_or_parse(body)
        measured.append(time.thread_time() - began)
    return min(measured)


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "escaped quotes in a string that ends": lambda size: b'{"a":"' + b'\\"' * (size // 2) + b'"}',
    "escaped quotes in a string that never ends": lambda size: b'{"a":"' + b'\\"' * (size // 2),
    "escaped quotes outside a string": lambda size: b'\\"' * (size // 2),
    "escaped backslashes": lambda size: b'["' + b"\\\\" * (size // 2) + b'"]',
    "a string that ends in a backslash": lambda size: b'["' + b"a" * size + b"\\",
    "quotes": lambda size: b'"' * size,
    "quotes and backslashes": lambda size: b'"\\' * (size // 2),
    "surrogates": lambda size: b'["' + b"\\ud83d" * (size // 6) + b'"]',
    "a long text": lambda size: b'["' + b"a" * size + b'"]',
    "a long text of brackets": lambda size: b'["' + b"[{" * (size // 2) + b'"]',
    "open arrays": lambda size: b"[" * size,
    "deep arrays": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "deep objects": lambda size: b'{"a":' * (size // 5),
    "shallow arrays": lambda size: b"[" + b"[]," * (size // 3) + b"[]]",
    "small objects": lambda size: b"[" + b'{"":1},' * (size // 7) + b"1]",
    "empty strings": lambda size: b"[" + b'"",' * (size // 3) + b"1]",
    "equal members": lambda size: b"{" + b'"a":1,' * (size // 6) + b'"a":1}',
    "many members": lambda size: b"{" + b",".join(b'"%x":1' % number for number in range(size // 9)) + b"}",
    "a number of many digits": lambda size: b"[" + b"9" * size + b"]",
    "numbers of many digits": lambda size: b"[" + (b"9" * 100 + b",") * (size // 101) + b"1]",
    "a fraction of many digits": lambda size: b"[0." + b"9" * size + b"]",
    "a number of many signs": lambda size: b"[" + b"1-" * (size // 2) + b"]",
    "small numbers": lambda size: b"[" + b"1," * (size // 2) + b"1]",
    "white space": lambda size: b" " * size,
    "bytes that are no text": lambda size: b'["' + b"\xff" * size + b'"]',
    "zeros": lambda size: b"\0" * size,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_body_costs_time_in_proportion_to_its_size(hostile: Callable[[int], bytes]) -> None:
    """What is quadratic takes 64 times as long for 8 times the size, and is stopped by the clock of the whole run."""
    size = 32 * 1024
    least = 0.0005  # below it the clock is measured, not the work
    assert _seconds(hostile(8 * size)) < 3 * 8 * max(_seconds(hostile(size)), least)


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("size", [64 * 1024, 8 * 1024 * 1024])
def test_the_check_takes_no_memory_and_what_passes_little(hostile: Callable[[int], bytes], size: int) -> None:
    body = hostile(size)
    tracemalloc.start()
    try:
        with contextlib.suppress(Malformed):
            request_limits.check_json(body)
        checked = tracemalloc.get_traced_memory()[1]
        _refuse_or_parse(body)
        parsed = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert checked < 64 * 1024
    assert parsed < 5 * max(size, 4 * 1024 * 1024)


@pytest.mark.parametrize("body", [b"[" + b"{}," * 60_000 + b"{}]", b"[" + b"1," * 600_000 + b"1]"])
def test_more_values_than_a_request_has_are_refused(body: bytes) -> None:
    with pytest.raises(Malformed, match="Send it in parts"):
        request_limits.check_json(body)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_json_in_another_encoding_does_not_hide_its_brackets(encoding: str) -> None:
    with pytest.raises(Malformed, match="UTF-8"):
        request_limits.check_json(('["∢' + "[" * 5_000 + "]" * 5_000 + '"]').encode(encoding))


@pytest.mark.parametrize("body", [b"[", b'{"a":[1]', b"]", b"[]]"])
def test_brackets_that_do_not_match_are_refused(body: bytes) -> None:
    with pytest.raises(Malformed, match="brackets"):
        request_limits.check_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"reason":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"amount_cents": ' + b"9" * 5_000 + b"}",
    ],
)
def test_no_route_falls_over_what_nests_or_counts_without_end(issuer: ServiceUnderTest, body: bytes) -> None:
    for path in ("/v1/programmes", "/v1/envelopes", "/v1/revocations", "/v1/oauth/clients"):
        headers = issuer.headers("admin", key="k") | {"Content-Type": "application/json"}
        answer = issuer.app.test_client().post(path, data=body, headers=headers)
        assert (answer.status_code, answer.get_json()["type"]) == (400, "urn:souche:malformed")


def test_a_character_that_the_database_cannot_keep_is_refused_in_a_query(issuer: ServiceUnderTest) -> None:
    answer = issuer.client.get("/v1/grants?programme=a%00b", headers=issuer.headers("admin"))
    assert answer.status_code == 422


def test_who_is_not_known_is_not_read(issuer: ServiceUnderTest) -> None:
    answer = issuer.client.post("/v1/programmes", data=b"[" * 100_000, content_type="application/json")
    assert answer.status_code == 401


SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@pytest.mark.parametrize("path", ["/healthz", "/v1/grants", "/nowhere", "/openapi.json", "/docs/"])
def test_every_answer_carries_the_headers_that_keep_browsers_from_harm(issuer: ServiceUnderTest, path: str) -> None:
    headers = issuer.client.get(path).headers
    assert {name: headers[name] for name in SECURITY} == SECURITY
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


def test_only_the_readable_page_may_run_a_script(issuer: ServiceUnderTest) -> None:
    policies = {path: issuer.client.get(path).headers["Content-Security-Policy"] for path in ("/docs/", "/healthz")}
    assert "script-src 'self'" in policies["/docs/"]
    assert "script-src" not in policies["/healthz"]


def test_over_tls_browsers_are_told_to_stay_there(issuer: ServiceUnderTest) -> None:
    answer = issuer.client.get("/healthz", base_url="https://souche.example")
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
