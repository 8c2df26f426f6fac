"""A whole configuration with freshly made secrets: for the demonstration and for tests.

Its keys are marked, so that no process takes them anywhere else.
"""

from collections.abc import Mapping

from shared.settings import weak_secrets
from shared.settings.settings import SERVICES
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
