"""By what an injury shows while it lasts."""

import json

import redis
import requests
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from shared.settings.settings import SERVICES
from tests.faults import processes
from tests.faults.ground import SECOND_BEAT, Field, seen_clock_file


def is_dead(at: Field, name: str) -> bool:
    """Nothing is left of the process, and nobody answers where it listened."""
    addresses = at.town.stack.addresses | at.town.stack.operators
    return not processes.family(at.town.process(name).pid) and (name not in addresses or _refuses(addresses[name]))


def stands_still(at: Field, name: str) -> bool:
    """The process and all of its children are stopped."""
    return set(processes.family(at.town.process(name).pid).values()) == {"T"}


def lives_by_moved_clock(at: Field, name: str, seconds: float) -> bool:
    """The worker has said what the time is by the clock that was moved."""
    file = seen_clock_file(at, name)
    return file.exists() and float(file.read_text(encoding="utf-8")) == seconds


def has_no_database(at: Field) -> bool:
    """The owner cannot connect."""
    return _cannot_connect(at.town.stack.environ["DATABASE_URL"])


def has_no_broker(at: Field) -> bool:
    """The broker does not answer."""
    try:
        with redis.Redis.from_url(at.town.stack.environ["REDIS_URL"], socket_connect_timeout=2) as broker:
            return not broker.ping()
    except redis.RedisError:
        return True


def was_flushed(at: Field) -> bool:
    """There was something to lose."""
    return at.flushed > 0


def has_no_connection_left(at: Field) -> bool:
    """No service can connect, and somebody else can who may exceed the limit."""
    urls = [at.town.stack.environ[f"{service.upper()}_DATABASE_URL"] for service in SERVICES]
    return all(_cannot_connect(url) for url in urls) and not has_no_database(at)


def is_cut_off(at: Field) -> bool:
    """The bridge's way to the operator ends at once, while the operator itself answers."""
    return _refuses(at.proxy.address) and not _refuses(at.operator_address)


def is_slow(at: Field) -> bool:
    """The bridge's way to the operator takes longer than a second, while the operator itself answers."""
    try:
        requests.get(f"{at.proxy.address}/readyz", timeout=1.0)
    except requests.Timeout:
        return not _refuses(at.operator_address)
    return False


def webhooks_came_twice_and_shuffled(at: Field) -> bool:
    """Some message came a second time, and some in another order than that in which they were written."""
    told = [json.loads(body)["timestamp"] for body in at.webhooks()[at.webhooks_before :]]
    return len(set(told)) < len(told) and told != sorted(told)


def has_two_beats(at: Field) -> bool:
    """Both live."""
    return all(processes.family(at.town.process(name).pid) for name in ("beat", SECOND_BEAT))


def _refuses(address: str) -> bool:
    """Whether a connection is refused or cut."""
    try:
        requests.get(f"{address}/readyz", timeout=10)
    except requests.Timeout:
        return False
    except requests.ConnectionError:
        return True
    return False


def _cannot_connect(url: str) -> bool:
    try:
        sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 2}).connect().close()
    except OperationalError:
        return True
    return False
