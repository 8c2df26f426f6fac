"""Real servers for the tests, started when first asked for: a test that needs no database takes none.

`postgres` and `redis_server` are one each per pytest(-xdist) process and are stopped with it. Their data are not
durable. A test that breaks, kills or restores a server starts its own with `demo.stack.embedded`.

`issuer`, `redeemer` and `bridge` are one service each, migrated once per process and emptied before every test that
asks for it: a `tests.harness.ServiceUnderTest` with `.runtime`, `.app`, `.client`, `.token(role, scope)` and
`.headers(role, scope, key=…)`. No worker runs: call the use case or the task's function yourself. The other services
do not answer, unless a test serves one at its address in `service_addresses`. A folder's conftest may override
`operator_settings` to give the bridge its OPERATOR_… settings.
"""

import functools
import importlib
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from demo.stack import environment
from demo.stack.embedded import EmbeddedPostgres, EmbeddedRedis, free_port
from shared.database.migrations import runner as migrations
from shared.http import metrics
from shared.settings import settings as config
from shared.settings.settings import SERVICES
from souche.keys import ONE_YEAR, Signer
from tests import chance
from tests.harness import ServiceUnderTest, empty_tables

chance.load_profile()


# Where each test has operators of its own, each has other settings, and the server has not connections for all.
_KEPT = 12
_BUILT: OrderedDict[tuple[str, tuple[tuple[str, str], ...]], ServiceUnderTest] = OrderedDict()


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """However busy the machine is, who asks for metrics is told those of the tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_PATIENCE_SECONDS", 60.0)
        yield


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A private folder with a short path (sockets), passable for the account that PostgreSQL runs as."""
    directory = Path(tempfile.mkdtemp(prefix="souche-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(server_directory: Path) -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for the session; `postgres.url()` is its superuser's address of the database `souche`."""
    with EmbeddedPostgres.start(server_directory / "pg", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(server_directory: Path) -> Iterator[EmbeddedRedis]:
    """One Valkey for the session; `redis_server.url` is its address."""
    with EmbeddedRedis.start(server_directory / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Signs the tokens that every service under test accepts."""
    return Signer.generate()


@pytest.fixture(scope="session")
def service_addresses() -> dict[str, str]:
    """The addresses at which the services under test look for each other; nothing listens there by itself."""
    return {service: f"http://127.0.0.1:{free_port()}" for service in SERVICES}


@pytest.fixture(scope="session")
def environ(
    postgres: EmbeddedPostgres, redis_server: EmbeddedRedis, signer: Signer, service_addresses: Mapping[str, str]
) -> dict[str, str]:
    """A complete configuration of all three services, as environment variables."""
    urls = {service: postgres.url(f"souche_{service}") for service in SERVICES}
    # Some tests move the clock by more than the year that these tokens are good for elsewhere.
    tokens = {f"{service.upper()}_SERVICE_TOKEN": signer.service_token(service, 10 * ONE_YEAR) for service in SERVICES}
    return environment.generate(signer, urls, redis_server.url, service_addresses) | tokens | {"LOG_LEVEL": "WARNING"}


@pytest.fixture(scope="session")
def owner(postgres: EmbeddedPostgres) -> Iterator[sa.Engine]:
    """The database as its owner sees it, every schema included."""
    engine = sa.create_engine(postgres.url())
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> Callable[[str], None]:
    """Brings a service's schema to its head, the first time it is asked."""

    @functools.cache
    def migrate(service: str) -> None:
        migrations.upgrade(service, postgres.url(), postgres.url(f"souche_{service}"))

    return migrate


@pytest.fixture
def operator_settings() -> Mapping[str, str]:
    """The OPERATOR_… settings of the services under test; override it where an operator is needed."""
    return {}


@pytest.fixture
def service(
    environ: Mapping[str, str],
    operator_settings: Mapping[str, str],
    migrated: Callable[[str], None],
    owner: sa.Engine,
    signer: Signer,
) -> Callable[[str], ServiceUnderTest]:
    """Gives any of the three services by its name, on empty tables and with nothing in the broker."""
    given = dict(environ) | dict(operator_settings)

    def make(name: str) -> ServiceUnderTest:
        migrated(name)
        empty_tables(owner, name)
        with redis.Redis.from_url(given["REDIS_URL"]) as broker:
            broker.flushall()
        return _built(name, tuple(sorted(given.items())), signer)

    return make


def _built(name: str, given: tuple[tuple[str, str], ...], signer: Signer) -> ServiceUnderTest:
    """Applications are built once per configuration: they keep no state of their own, but connections."""
    if (name, given) not in _BUILT:
        settings = config.load(name, dict(given))
        app = importlib.import_module(f"services.{name}").create_app(settings)
        _BUILT[name, given] = ServiceUnderTest(app, settings, signer, dict(given))
    _BUILT.move_to_end((name, given))
    while len(_BUILT) > _KEPT:
        _, longest_ago = _BUILT.popitem(last=False)
        longest_ago.runtime.engine.dispose()
    return _BUILT[name, given]


@pytest.fixture
def issuer(service: Callable[[str], ServiceUnderTest]) -> ServiceUnderTest:
    """The issuer on empty tables."""
    return service("issuer")


@pytest.fixture
def redeemer(service: Callable[[str], ServiceUnderTest]) -> ServiceUnderTest:
    """The redeemer on empty tables."""
    return service("redeemer")


@pytest.fixture
def bridge(service: Callable[[str], ServiceUnderTest]) -> ServiceUnderTest:
    """The operator bridge on empty tables."""
    return service("operator_bridge")
