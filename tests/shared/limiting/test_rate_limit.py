"""Nobody asks so often that the others wait, and nobody is refused for what others do, or for want of Redis."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from demo.stack.embedded import EmbeddedRedis, free_port
from services.issuer import create_app
from services.operator_bridge import create_app as create_bridge
from shared.limiting.rate_limit import RateLimit
from shared.problems import TooMany
from shared.settings import settings as config
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest

pytestmark = pytest.mark.slow

LIMIT = 20


@pytest.fixture(autouse=True)
def within_a_minute() -> None:
    """Waits where the minute is about to end: its counts would begin anew in the middle of a test."""
    left = 60 - time.time() % 60
    if left < 8:
        time.sleep(left)


@pytest.fixture
def shared_store(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as store:
        store.flushall()
        yield store


@pytest.fixture
def limited(issuer: ServiceUnderTest) -> ServiceUnderTest:
    """The issuer with limits that a test can reach."""
    environ = dict(issuer.environ) | {"REQUESTS_PER_CALLER": str(LIMIT), "REQUESTS_PER_ADDRESS": str(LIMIT)}
    settings = config.load("issuer", environ)
    return ServiceUnderTest(create_app(settings), settings, issuer.signer, environ)


def statuses(service: ServiceUnderTest, times: int, path: str = "/v1/programmes", **options: object) -> list[int]:
    return [service.client.get(path, **options).status_code for _ in range(times)]


def refused(pace: RateLimit, whose: str, times: int, limit: int = LIMIT) -> int:
    found = 0
    for _ in range(times):
        try:
            pace.take(whose, limit)
        except TooMany:
            found += 1
    return found


class TestACaller:
    def test_is_answered_until_the_limit_and_told_how_long_to_wait(self, limited: ServiceUnderTest) -> None:
        headers = limited.headers("admin", subject=str(new_id()))
        assert statuses(limited, LIMIT + 2, headers=headers) == [200] * LIMIT + [429] * 2
        answer = limited.client.get("/v1/programmes", headers=headers)
        assert (answer.mimetype, answer.get_json()["type"]) == (
            "application/problem+json",
            "urn:souche:too-many-requests",
        )
        assert 0 < int(answer.headers["Retry-After"]) <= 60

    def test_does_not_take_from_another(self, limited: ServiceUnderTest) -> None:
        statuses(limited, LIMIT + 1, headers=limited.headers("admin", subject=str(new_id())))
        assert statuses(limited, 1, headers=limited.headers("admin", subject=str(new_id()))) == [200]

    def test_is_one_by_subject_and_scope_whatever_token_it_shows(self, limited: ServiceUnderTest) -> None:
        scope, subject = new_id(), str(new_id())
        for _ in range(LIMIT):
            limited.client.get("/v1/grants", headers=limited.headers("prescriber", scope, subject=subject))
        assert statuses(limited, 1, "/v1/grants", headers=limited.headers("prescriber", scope, subject=subject)) == [
            429
        ]
        assert statuses(limited, 1, "/v1/grants", headers=limited.headers("prescriber", new_id(), subject=subject)) == [
            200
        ]

    def test_that_is_a_service_is_not_counted(self, limited: ServiceUnderTest) -> None:
        headers = limited.headers("service", subject="redeemer")
        assert set(statuses(limited, LIMIT + 5, "/v1/events", headers=headers)) == {200}

    def test_is_counted_before_its_request_is_read(self, limited: ServiceUnderTest) -> None:
        headers = limited.headers("admin", subject=str(new_id()))
        statuses(limited, LIMIT, headers=headers)
        assert limited.client.post("/v1/programmes", headers=headers, data=b"{").status_code == 429


class TestAStranger:
    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer a.b.c"}])
    def test_is_refused_and_beyond_the_limit_told_to_wait(
        self, limited: ServiceUnderTest, headers: dict[str, str]
    ) -> None:
        assert statuses(limited, LIMIT + 1, headers=headers) == [401] * LIMIT + [429]

    def test_takes_nothing_from_good_tokens_of_the_same_address(self, limited: ServiceUnderTest) -> None:
        assert statuses(limited, LIMIT + 1)[-1] == 429
        assert statuses(limited, 1, headers=limited.headers("admin", subject=str(new_id()))) == [200]

    def test_has_a_whole_network_of_ipv6(self, limited: ServiceUnderTest) -> None:
        for number in range(LIMIT):
            limited.client.get("/openapi.json", environ_base={"REMOTE_ADDR": f"2001:db8:1:2::{number:x}"})
        [same, other] = [
            limited.client.get("/openapi.json", environ_base={"REMOTE_ADDR": address}).status_code
            for address in ("2001:db8:1:2:ffff::1", "2001:db8:1:3::1")
        ]
        assert (same, other) == (429, 200)

    def test_may_ask_whether_the_service_lives_as_often_as_it_likes(self, limited: ServiceUnderTest) -> None:
        assert set(statuses(limited, LIMIT + 5, "/healthz")) == {200}

    def test_is_told_by_the_token_endpoint_as_its_clients_expect(self, limited: ServiceUnderTest) -> None:
        for _ in range(LIMIT):
            limited.client.post("/v1/oauth/token", data={"grant_type": "x"})
        answer = limited.client.post("/v1/oauth/token", data={"grant_type": "x"})
        assert (answer.status_code, answer.mimetype, answer.get_json()["error"]) == (
            429,
            "application/json",
            "slow_down",
        )


def test_operators_messages_are_not_counted(bridge: ServiceUnderTest) -> None:
    environ = dict(bridge.environ) | {"REQUESTS_PER_ADDRESS": str(LIMIT)}
    client = create_bridge(config.load("operator_bridge", environ)).test_client()
    answers = {client.post("/v1/operators/nobody/webhooks", json={}).status_code for _ in range(LIMIT + 5)}
    assert answers == {404}


class TestProcesses:
    def test_count_together(self, shared_store: redis.Redis) -> None:
        first, second = RateLimit("issuer", shared_store), RateLimit("issuer", shared_store)
        found = [refused(pace, "caller x", 1) for _ in range(LIMIT) for pace in (first, second)]
        answered = found.count(0)
        assert LIMIT <= answered <= LIMIT + 2 * LIMIT // 10

    def test_count_apart_by_service(self, shared_store: redis.Redis) -> None:
        assert refused(RateLimit("issuer", shared_store), "caller x", LIMIT) == 0
        assert refused(RateLimit("redeemer", shared_store), "caller x", LIMIT) == 0

    def test_hold_the_limit_alone_while_redis_is_down_and_lose_no_time(self) -> None:
        nothing = redis.Redis(
            port=free_port(), socket_connect_timeout=0.2, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)
        )
        assert refused(RateLimit("issuer", nothing), "caller x", LIMIT + 3) == 3

    def test_keep_no_subject_and_no_address_in_redis(self, shared_store: redis.Redis) -> None:
        refused(RateLimit("issuer", shared_store), "address 192.0.2.7", LIMIT)
        [key] = shared_store.keys("souche:rate_limit:*")
        assert b"192.0.2.7" not in key
        assert 0 < shared_store.ttl(key) <= 120

    def test_count_all_when_many_threads_ask_at_once(self, shared_store: redis.Redis) -> None:
        pace, limit, found = RateLimit("issuer", shared_store), 1_000, []

        def ask() -> None:
            found.append(refused(pace, "caller x", 300, limit))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(found) == 200


@pytest.mark.parametrize("kind", ["REQUESTS_PER_CALLER", "REQUESTS_PER_ADDRESS"])
def test_zero_is_no_limit(issuer: ServiceUnderTest, kind: str) -> None:
    pace = RateLimit("issuer", redis.Redis(port=free_port()))
    assert refused(pace, "caller x", 5_000, limit=0) == 0
    assert config.load("issuer", dict(issuer.environ) | {kind: "0"})


def test_every_route_that_asks_for_a_token_says_so(service: Callable[[str], ServiceUnderTest]) -> None:
    for name in config.SERVICES:
        document = service(name).client.get("/openapi.json").get_json()
        operations = [
            operation for path in document["paths"].values() for operation in path.values() if "x-roles" in operation
        ]
        assert operations
        assert all("429" in operation["responses"] for operation in operations)
        assert "Retry-After" in document["components"]["responses"]["TOO_MANY_REQUESTS"]["headers"]
