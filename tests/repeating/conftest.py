"""A service with enough in it that every route which takes an Idempotency-Key has something to do."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from demo.simulators import aptic
from shared.settings.settings import SERVICES
from tests.harness import ServiceUnderTest
from tests.operator_bridge.conftest import codes, simulated, simulator
from tests.repeating.creating import Creators, of_bridge, of_issuer, of_redeemer

__all__ = ["codes", "simulated", "simulator"]

# What is written of every request, or by nobody's request.
_BOOKS = ("alembic_version", "idempotent_answer", "audit_entry", "audit_draft", "audit_head")


@dataclass
class Place:
    """A service and its creating requests."""

    service: ServiceUnderTest
    creators: Creators

    def contents(self) -> dict[str, str]:
        """What every table holds, as a digest of each."""
        schema = self.service.settings.service
        query = "SELECT tablename FROM pg_tables WHERE schemaname = :schema AND tablename <> ALL(:books)"
        with self.service.runtime.engine.connect() as connection:
            names = connection.scalars(sa.text(query), {"schema": schema, "books": list(_BOOKS)}).all()
            rows = "md5(coalesce(string_agg(row::text, ';' ORDER BY row::text), ''))"
            parts = [f"SELECT '{name}', {rows} FROM {schema}.{name} row" for name in sorted(names)]
            return {row[0]: row[1] for row in connection.execute(sa.text(" UNION ALL ".join(parts)))}


@pytest.fixture(scope="session")
def folder() -> Iterator[dict[str, str]]:
    """The settings to work with an operator that exchanges files, and activates by the payment order."""
    simulator = aptic.Simulator(aptic.Account.generate())
    yield simulator.account.settings()
    shutil.rmtree(simulator.account.folder)


@pytest.fixture
def operator_settings(simulated: dict[str, str], folder: dict[str, str]) -> Mapping[str, str]:
    return simulated | folder


@pytest.fixture(params=SERVICES)
def place(request: pytest.FixtureRequest, service: Callable[[str], ServiceUnderTest], codes: dict[str, str]) -> Place:
    """Each of the three services."""
    built = service(request.param)
    makers: dict[str, Callable[[], Creators]] = {
        "issuer": lambda: of_issuer(built),
        "redeemer": lambda: of_redeemer(built),
        "operator_bridge": lambda: of_bridge(built, codes),
    }
    return Place(built, makers[request.param]())
