"""A town of three services and an operator, of which one service's database is put back to an earlier moment."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from click.testing import CliRunner, Result

from demo.simulators.docaposte import Simulator
from demo.stack.embedded import EmbeddedPostgres
from services.operator_bridge.inbound import statement_polling
from services.operator_bridge.reconciliation import comparing
from shared.settings.settings import SERVICES
from souche.commands.recall import recall
from souche.commands.verify import verify
from tests.journey.conftest import World

Cheque = Mapping[str, Any]


@dataclass
class Town:
    """The world with its operator, and what was done in it."""

    world: World
    operator: Simulator
    postgres: EmbeddedPostgres
    dumps: dict[str, bytes] = field(default_factory=dict)

    def work(self) -> None:
        """Carries all news, sends what is due, and hears what the operator says of it."""
        for _ in range(2):
            self.world.settle()
            statement_polling.poll(self.world.services["operator_bridge"].runtime, self.world.contract)
        self.world.settle()

    def grant(self) -> list[Cheque]:
        """Five cheques, told and registered."""
        cheques: list[Cheque] = self.world.grant()["cheques"]
        self.work()
        return cheques

    def redeem(self, *cheques: Cheque) -> list[str]:
        """Redeems cheques at the till together; gives the redemptions."""
        answer = self.world.present(*(cheque["code"] for cheque in cheques))
        assert answer.status_code == 201, answer.text
        return [line["redemption_id"] for line in answer.get_json()["redemptions"]]

    def refusal(self, cheque: Cheque) -> str:
        """Why the till refuses a cheque."""
        answer = self.world.present(cheque["code"])
        assert answer.status_code == 409, answer.text
        [refused] = answer.get_json()["refusals"]
        return str(refused["reason"])

    def take_back(self, redemption_id: str) -> None:
        """Reverses a redemption."""
        path = f"/v1/redemptions/{redemption_id}/reversal"
        self.world.ask("redeemer", "POST", path, "structure", {"reason": "erreur"}, scope=self.world.structure)

    def cancel(self, cheque: Cheque) -> None:
        """Asks that a cheque be cancelled."""
        body = {"cheque_ids": [cheque["cheque_id"]], "reason": "perdu"}
        self.world.ask("issuer", "POST", "/v1/cancellations", "prescriber", body, scope=self.world.prescriber)

    def at_operators_till(self, cheque: Cheque) -> None:
        """Spends a cheque at the operator's own till."""
        self.operator.register.redeem_at_till(str(self.world.structure), cheque["code"], None)

    def back_up(self) -> None:
        """Keeps each schema as it is now."""
        for service in SERVICES:
            self.dumps[service] = self._run("pg_dump", "-n", service)

    def restore(self, service: str) -> None:
        """Puts a service's schema back to the backup, as it is done while its processes are stopped."""
        for under_test in self.world.services.values():
            under_test.runtime.engine.dispose()
        self._run("psql", "-c", f"DROP SCHEMA {service} CASCADE", stdin=b"")
        self._run("psql", stdin=self.dumps[service])

    def recall(self, service: str) -> str:
        """What a service does before it begins to work."""
        result = CliRunner(env=dict(self.world.services[service].environ)).invoke(recall, [service])
        assert result.exit_code == 0, result.output
        return result.output

    def verify(self) -> Result:
        """Recomputes all, once all news has come."""
        return CliRunner(env=dict(self.world.services["issuer"].environ)).invoke(verify, ["--wait", "0"])

    def differences(self) -> int:
        """In how many cheques the operator's statement differs from our register."""
        bridge = self.world.services["operator_bridge"].runtime
        return comparing.compare(bridge, self.world.contract).count

    def spent(self) -> list[tuple[UUID, int]]:
        """Cheques by how often they were spent and not taken back, where that is more than once."""
        query = "SELECT cheque_id, count(*) FROM redemption WHERE reversed_at IS NULL GROUP BY 1 HAVING count(*) > 1"
        with self.world.services["redeemer"].runtime.engine.connect() as connection:
            return [(row[0], row[1]) for row in connection.execute(sa.text(query))]

    def _run(self, program: str, *options: str, stdin: bytes | None = None) -> bytes:
        where = ["-h", str(self.postgres.directory), "-U", "souche", "-d", "souche"]
        strict = ["-q", "-v", "ON_ERROR_STOP=1"] if program == "psql" else []
        command = [str(self.postgres.bin / program), *strict, *where, *options]
        return subprocess.run(command, check=True, capture_output=True, input=stdin).stdout


@dataclass
class Life:
    """What happened to which cheques, before and after the backup."""

    kept: list[Cheque]
    lost: list[Cheque]


def live(town: Town) -> Life:
    """Everything that can happen to a cheque, some before the backup and some after it, heard by all before the end."""
    kept = [*town.grant(), *town.grant()]
    [first] = town.redeem(kept[0])
    town.redeem(kept[9])
    town.work()
    town.back_up()
    town.redeem(kept[1], kept[2])
    town.work()
    town.take_back(first)  # redeemed before the backup, taken back after it, and spent again
    town.work()
    town.redeem(kept[0])
    [second] = town.redeem(kept[3])
    town.work()
    town.take_back(second)  # redeemed and taken back after it
    town.at_operators_till(kept[4])
    town.cancel(kept[5])
    lost = town.grant()
    town.redeem(lost[0])
    town.work()
    town.operator.pay(datetime.now(UTC).date())
    town.work()
    town.redeem(kept[6])
    town.cancel(kept[6])  # comes too late
    town.work()
    assert town.verify().exit_code == 0, town.verify().output
    assert town.differences() == 0
    return Life(kept, lost)


def key() -> str:
    """An idempotency key that nobody had before."""
    return str(uuid4())
