"""The keys that granting needs, as what uses them."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.issuer.cheques.codes import Codes
from services.issuer.people.identities import Identities


@dataclass(frozen=True, slots=True)
class Secrets:
    """What seals codes and identities."""

    codes: Codes
    identities: Identities

    @classmethod
    def of(cls, keys: Mapping[str, Mapping[str, bytes]]) -> "Secrets":
        """From the service's secret keys."""
        return cls(Codes(keys), Identities(keys))
