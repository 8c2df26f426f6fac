"""A redeemer with so many cheques, some of which are presented over HTTP and some by pgbench.

Where a cheque lies in the table has nothing to do with when it is presented, on either side: each touches pages of its
own, as tills do.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID, uuid4

import sqlalchemy as sa

from benchmarks import pgbench
from benchmarks.load import post
from benchmarks.machine import Machine
from services.redeemer.redemptions import eligibility
from shared.eventlog import event_kinds
from shared.settings import settings
from shared.values import cheque_code
from shared.values.ids import new_id

SERVICE = "redeemer"
_STRIDE = 7_919  # a prime: the numbers of cheques that follow one another lie far apart

_PREPARE = """
    SET session_replication_role = replica;
    ALTER TABLE cheque DROP CONSTRAINT IF EXISTS cheque_digest_key;
    DROP INDEX IF EXISTS cheque_presentable_until_idx;
    CREATE TEMPORARY TABLE chosen (place bigint PRIMARY KEY, digest bytea)
"""
_FILL = f"""
    INSERT INTO cheque (id, digest, rules_id, grant_id, value_cents, granted_on, valid_until, presentable_until, active)
    SELECT uuidv7(), each.digest, 1, uuidv7(), 1000, current_date - 30, current_date + 300, current_date + 330, true
    FROM generate_series(0, CAST(:cheques AS bigint) - 1) i LEFT JOIN chosen ON chosen.place = i
    CROSS JOIN unnest(ARRAY[sha256(int8send(i * {_STRIDE} % CAST(:cheques AS bigint))), chosen.digest]) each (digest)
    WHERE each.digest IS NOT NULL
"""  # noqa: S608 (constants of this module)
_FINISH = """
    ALTER TABLE cheque ADD CONSTRAINT cheque_digest_key UNIQUE (digest);
    CREATE INDEX cheque_presentable_until_idx ON cheque (presentable_until);
    CHECKPOINT;
    VACUUM (FREEZE, ANALYZE)
"""
_RENEW = """
    TRUNCATE redemption, presentation, event CASCADE;
    UPDATE cheque SET ending = NULL, redeemed_at = NULL WHERE ending IS NOT NULL;
    VACUUM ANALYZE cheque
"""
_WORLD = """
    INSERT INTO spending_rules (digest, programme, services, territory) VALUES ('', 'pass', '{}', '{}');
    INSERT INTO contract (id, code, operator, programme, state, starts_on)
    VALUES (:contract, 'contract', 'somebody', 'pass', 'live', current_date - 300);
    INSERT INTO structure (id, source_id, name, commune, postcode, address, typologies, labels, updated_on, services,
                           publics)
    VALUES (:structure, 's', 'Campus', 'Agen', '47000', '1 rue', '{}', '{}', current_date, '{}', '{}');
    INSERT INTO affiliation (id, structure_id, contract_id, starts_on)
    VALUES (uuidv7(), :structure, :contract, current_date - 300)
"""
# The parameters of the product's own statement where pgbench runs it: what differs from one to the next comes of the
# number of the transaction, and is of the same size and shape.
_N = ":n::bigint"


def _bytes(value: str) -> str:
    return rf"'\\x' || encode({value}, 'hex')"


_PRESENTED = {
    "number": "1",
    "structure_id": ":structure::uuid",
    "address": "'127.0.0.1'",
    "given_on": "current_date",
    "presentation_id": f"'ffffffff-0000-7000-8000-' || lpad(to_hex({_N}), 12, '0')",
    "key": f"md5({_N}::text)",
    "request_digest": _bytes(f"sha256(int8send({_N}))"),
    "role": "'structure'",
    "scope": ":structure::uuid",
    "subject": "'benchmark'",
    "sender": "'127.0.0.1'",
    "request_id": f"'request ' || {_N}",
    "action": "'POST /v1/redemptions'",
}
_CODE = {
    "number": "1",
    "index": "0",
    "digests": _bytes(f"sha256(int8send({_N} % :cheques::bigint))"),
    "redemption_id": "uuidv7()",
    "event_id": "uuidv7()",
}


def _json(row: Mapping[str, str]) -> str:
    """SQL that writes a row as `shared.process.prepared_query.json_rows` does."""
    members = ", ".join(f'"{name}": ["%s"]' if name == "digests" else f'"{name}": "%s"' for name in row)
    return f"format('[{{{members}}}]', {', '.join(row.values())})"


_PARAMETERS = {
    "questions": _json(_PRESENTED),
    "codes": _json(_CODE),
    "now": "now()",
    "today": "current_date",
    "version": str(event_kinds.VERSION),
}


class RanOut(Exception):
    """There are not as many cheques to be presented as are wanted."""


@dataclass
class Till:
    """Cheques that can be presented, and by whom."""

    machine: Machine
    cheques: int
    codes: Sequence[str]
    structure: UUID = field(default_factory=new_id)
    begun: int = 0
    """How many transactions of pgbench there were."""
    presented: int = 0
    """How many of the codes were presented over HTTP."""

    def requests(self, number: int) -> list[bytes]:
        """So many presentations of a cheque each, with the structure's token and a key of their own."""
        taken = self.codes[self.presented : self.presented + number]
        if len(taken) < number:
            raise RanOut(f"{number} more cheques are needed, and {len(taken)} are left")
        self.presented += number
        token = self.machine.token("structure", self.structure)
        return [
            post(
                "/v1/redemptions",
                json.dumps({"codes": [cheque_code.printed(code)]}).encode(),
                {"Authorization": token, "Idempotency-Key": str(uuid4())},
            )
            for code in taken
        ]

    def renew(self) -> None:
        """Makes every cheque spendable again, as if it had never been presented."""
        owner = self.machine.owner(SERVICE)
        with owner.connect() as connection:
            _run(connection, _RENEW)
        owner.dispose()
        self.presented = 0

    def pgbench(self, clients: int, seconds: float) -> float:
        """Presentations a second by the redeemer's own statement, prepared, in its own role and schema."""
        variables = {
            "structure": str(self.structure),
            "cheques": str(self.cheques),
            "clients": str(clients),
            "i": str(self.begun),
        }
        before = self._redeemed()
        rate = pgbench.run(
            self.machine,
            f"souche_{SERVICE}",
            script(),
            variables,
            clients,
            seconds,
            "-c plan_cache_mode=force_generic_plan",
        )
        self.begun += round(rate * seconds * 1.5 / clients) + 1_000
        if self._redeemed() - before < rate * seconds * 0.99:
            raise RanOut("pgbench presented cheques that were not taken")
        return rate

    def _redeemed(self) -> int:
        owner = self.machine.owner(SERVICE)
        with owner.connect() as connection:
            number: int = connection.exec_driver_sql("SELECT count(*) FROM redemption").scalar_one()
        owner.dispose()
        return number


def script() -> str:
    """The redeemer's statement as pgbench has it, for one presentation."""
    statement = re.sub(r"(?<!:):([a-z]\w*)", lambda found: _PARAMETERS[found[1]], eligibility.ALONE)
    statement = re.sub(r"--.*", "", statement)  # pgbench would look for variables there
    return f"\\set i :i + 1\n\\set n :i * :clients + :client_id\n{statement.strip()};\n"


def stand(machine: Machine, cheques: int, presentable: int) -> Till:
    """A redeemer with so many cheques that pgbench can present, and `presentable` among them for HTTP."""
    key = next(iter(settings.load(SERVICE, machine.environ).keys["CODE_DIGEST_KEY"].values()))
    codes = [cheque_code.generate() for _ in range(presentable)]
    places = Random(1).sample(range(cheques), presentable)  # noqa: S311 (it need not be unforeseeable)
    till = Till(machine, cheques, codes)
    owner = machine.owner(SERVICE)
    with owner.connect() as connection:
        _run(connection, _PREPARE)
        raw = connection.connection.driver_connection
        assert raw is not None  # noqa: S101 (the pool gave it)
        with raw.cursor().copy("COPY chosen FROM STDIN") as copy:
            for place, code in zip(places, codes, strict=True):
                copy.write_row((place, cheque_code.digest(code, key)))
        _run(connection, _WORLD, structure=till.structure, contract=new_id())
        _run(connection, _FILL, cheques=cheques)
        _run(connection, _FINISH)
    owner.dispose()
    return till


def _run(connection: sa.Connection, statements: str, **values: object) -> None:
    for statement in statements.split(";"):
        wanted = {name: value for name, value in values.items() if f":{name}" in statement}
        connection.execute(sa.text(statement), wanted)
