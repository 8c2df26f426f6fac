"""A whole configuration with freshly made secrets: for the demonstration and for tests.

Its keys are marked, so that no process takes them anywhere else.
"""

from collections.abc import Mapping

import redis
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, OperationalError

from shared.database import engine as db
from shared.settings import weak_secrets
from shared.settings.settings import SERVICES, ConfigurationError
from souche.keys import Signer, generate_secrets

# A year in a minute, from one address: more than anybody asks for in a deployment.
HURRY = {"REQUESTS_PER_CALLER": "1000000", "REQUESTS_PER_ADDRESS": "1000000"}


def generate(
    signer: Signer, database_urls: Mapping[str, str], redis_url: str, addresses: Mapping[str, str]
) -> dict[str, str]:
    """Every required setting of the three services, by their names in `.env.example`.

    `database_urls` and `addresses` are by service.
    """
    return {
        **{f"{service.upper()}_DATABASE_URL": database_urls[service] for service in SERVICES},
        **{f"{service.upper()}_URL": addresses[service] for service in SERVICES},
        "REDIS_URL": redis_url,
        "SOUCHE_DEMONSTRATION": "true",
        **HURRY,
        **generate_secrets(signer, weak_secrets.demonstration_key),
    }


def refuse_used(owner_url: str) -> None:
    """Raises ConfigurationError for a database in use: the demonstration's keys must not encrypt beside other keys."""
    try:
        engine = sa.create_engine(db.driver_url(owner_url))
        used = sorted(set(sa.inspect(engine).get_schema_names()) & set(SERVICES))
    except (ArgumentError, OperationalError) as error:
        raise ConfigurationError(f"DATABASE_URL: the database does not answer: {_first_line(error)}") from None
    engine.dispose()
    if used:
        raise ConfigurationError(f"DATABASE_URL already holds the schemas {', '.join(used)}: give an empty database.")


def refuse_silent(redis_url: str) -> None:
    """Raises ConfigurationError where no server answers at this address."""
    try:
        with redis.Redis.from_url(redis_url, socket_connect_timeout=5) as server:
            server.ping()
    except (redis.RedisError, ValueError) as error:
        raise ConfigurationError(f"REDIS_URL: the server does not answer: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
