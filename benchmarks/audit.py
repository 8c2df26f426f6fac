"""What the audit trail costs: a grant and a redemption with it and without, by turns in one run.

    .venv/bin/python -m benchmarks.audit [--rounds 20] [--each 50]

Without means as it was before there was a trail: no trigger, nobody told who acts, and the statement of a redemption
without its entry. Grants go through the whole application, redemptions through the statement alone, where the entry
weighs most. Then the chain: how long it takes to chain what was added and to compute it again.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from flask import Flask

from demo.stack import environment
from demo.stack.embedded import EmbeddedPostgres, EmbeddedRedis, free_port
from services import issuer, redeemer
from services.redeemer.inbox import HANDLERS
from services.redeemer.redemptions import eligibility, redeeming
from services.redeemer.redemptions.lockout import Guesser
from shared.audit import hash_chain
from shared.database import engine
from shared.database.migrations import runner as migrations
from shared.eventlog import consumer, event_kinds
from shared.eventlog.log import Event
from shared.process.prepared_query import PreparedQuery
from shared.process.runtime import Runtime
from shared.settings import settings
from shared.settings.settings import SERVICES
from shared.values import cheque_code, clock
from shared.values.ids import new_id
from souche.keys import Signer

_WITH = PreparedQuery(eligibility.ALONE)
_WITHOUT = PreparedQuery(re.sub(r",\n-- Who presented what.*?\n\)\n", "\n", eligibility.ALONE, flags=re.DOTALL))
_PLACES = "id,pivot,nom,commune,code_postal,adresse,date_maj\nccas,00000000000000,CCAS,Agen,47000,1 rue,2026-01-15\n"


def main() -> None:
    """Measures both, and says the ratios."""
    parser = argparse.ArgumentParser(description="Measure what the audit trail costs.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--each", type=int, default=50)
    arguments = parser.parse_args()
    with _servers() as (postgres, environ, signer):
        owner = sa.create_engine(postgres.url(), isolation_level="AUTOCOMMIT")
        app = issuer.create_app(settings.load("issuer", environ))
        say("grant", *measure(_granting(app, signer, owner), arguments.rounds, arguments.each))
        tills = redeemer.create_app(settings.load("redeemer", environ))
        runtime: Runtime = tills.extensions["souche"].runtime
        say(
            "redemption",
            *measure(_redeeming(runtime, arguments.rounds * arguments.each), arguments.rounds, arguments.each),
        )
        for of in (app.extensions["souche"].runtime, runtime):
            _chain(of)


def measure(turns: Callable[[bool], Callable[[], None]], rounds: int, repeats: int) -> tuple[float, float]:
    """The median seconds without and with, taken by turns so that both see the same machine."""
    took: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * rounds + 2):
        audited = bool(turn % 2)
        act = turns(audited)
        for _ in range(repeats):
            began = time.perf_counter()
            act()
            if turn > 1:  # the first two warm up
                took[audited].append(time.perf_counter() - began)
    return statistics.median(took[False]), statistics.median(took[True])


def _granting(app: Flask, signer: Signer, owner: sa.Engine) -> Callable[[bool], Callable[[], None]]:
    runtime: Runtime = app.extensions["souche"].runtime
    admin = {"Authorization": f"Bearer {signer.token('admin', None, 'benchmark')}"}
    prescriber = _prepare(app, admin)
    headers = {"Authorization": f"Bearer {signer.token('prescriber', prescriber, 'benchmark')}"}
    body = {"programme": "pass", "amount_cents": 5000, "reason": "Stated."}
    client, audited_sessions = app.test_client(), runtime.sessions
    silent = engine.sessions(runtime.engine, runtime.bell.ring)

    def grant() -> None:
        answer = client.post("/v1/grants", json=body, headers=headers | {"Idempotency-Key": str(new_id())})
        if answer.status_code != 201:
            raise SystemExit(f"refused: {answer.json}")

    def turns(audited: bool) -> Callable[[], None]:
        vars(runtime)["sessions"] = audited_sessions if audited else silent
        with owner.connect() as connection:
            for trigger, table in connection.execute(_TRIGGERS).all():
                state = "ENABLE" if audited else "DISABLE"
                connection.exec_driver_sql(f"ALTER TABLE issuer.{table} {state} TRIGGER {trigger}")
        return grant

    return turns


_TRIGGERS = sa.text("""
    SELECT tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE tgname LIKE 'audit_%' AND relnamespace = 'issuer'::regnamespace
""")


def _prepare(app: Flask, admin: dict[str, str]) -> UUID:
    client = app.test_client()
    programme = {"code": "pass", "name": "Pass", "validity": {"months": 12}}
    money = {"programme": "pass", "funder": "État", "convention_reference": "1", "amount_cents": 10**12}
    period = {"starts_on": "2020-01-01", "ends_on": "2100-01-01"}
    client.post("/v1/programmes", json=programme, headers=admin)
    client.post("/v1/envelopes", json=money | period, headers=admin)
    client.post("/v1/prescribers/imports", data=_PLACES, content_type="text/csv", headers=admin)
    return UUID(client.get("/v1/prescribers", headers=admin).get_json()["items"][0]["prescriber_id"])


def _redeeming(runtime: Runtime, needed: int) -> Callable[[bool], Callable[[], None]]:
    structure, codes = new_id(), _cheques(runtime, 2 * needed + 4 * 500)

    def turns(audited: bool) -> Callable[[], None]:
        statement = _WITH if audited else _WITHOUT

        def redeem() -> None:
            typed, workshop = eligibility.read([next(codes)]), eligibility.workshop(None, None, None)
            request = redeeming.Request(Guesser(structure), str(new_id()), b"", typed, workshop)
            attempt = redeeming.Attempt.of(request, [*runtime.settings.keys["CODE_DIGEST_KEY"].values()])
            judged = statement.run(runtime, redeeming.parameters([attempt]), redeeming.Line)
            if not judged[0].done:
                raise SystemExit(f"refused: {judged[0].verdict}")

        return redeem

    _let_in(runtime, structure)
    return turns


def _tell(runtime: Runtime, kind: str, body: dict[str, object]) -> None:
    loaded = event_kinds.load(kind, body)
    with runtime.transaction() as session:
        consumer.run_handlers(session, [Event(new_id(), kind, "key", clock.now(), loaded)], HANDLERS)


def _cheques(runtime: Runtime, number: int) -> Iterator[str]:
    key = next(iter(runtime.settings.keys["CODE_DIGEST_KEY"].values()))
    codes = [cheque_code.generate() for _ in range(number)]
    today = clock.today()
    later = clock.add_months(today, 12)
    for at in range(0, number, 500):
        lines = [
            {"cheque_id": new_id(), "digest": cheque_code.digest(code, key).hex(), "value_cents": 1000}
            for code in codes[at : at + 500]
        ]
        programme = {"code": "pass", "spendable": "on_issue", "services": [], "territory": []}
        dates = {"granted_on": today, "valid_until": later, "presentable_until": later}
        _tell(runtime, "cheques.issued", {"grant_id": new_id(), "programme": programme, "cheques": lines} | dates)
    return iter(codes)


def _let_in(runtime: Runtime, structure: UUID) -> None:
    contract, today = new_id(), clock.today()
    names = {"contract_id": contract, "code": "contract", "operator": "somebody", "programme": "pass"}
    _tell(runtime, "contract.changed", names | {"state": "live", "starts_on": today, "ends_on": None})
    with runtime.transaction() as session:
        session.execute(
            sa.text("""
                INSERT INTO structure (id, source_id, name, commune, postcode, address, typologies, labels, updated_on,
                                       services, publics)
                VALUES (:id, 's', 'Campus', 'Agen', '47000', '1 rue', '{}', '{}', :today, '{}', '{}')
            """),
            {"id": structure, "today": today},
        )
        session.execute(
            sa.text("INSERT INTO affiliation (id, structure_id, contract_id, starts_on) VALUES (:id, :s, :c, :day)"),
            {"id": new_id(), "s": structure, "c": contract, "day": today},
        )


def _chain(runtime: Runtime) -> None:
    service, began = runtime.settings.service, time.perf_counter()
    head = hash_chain.chain(runtime.engine, service)
    chained = time.perf_counter()
    hash_chain.verify(runtime.engine, service)
    verified = time.perf_counter()
    number = head.position if head else 0
    rates = (number / (chained - began), number / (verified - chained))
    sys.stdout.write(f"{service}: {number} entries chained at {rates[0]:,.0f}/s, computed again at {rates[1]:,.0f}/s\n")


def say(what: str, without: float, with_it: float) -> None:
    """Prints one ratio."""
    ratio = with_it / without
    sys.stdout.write(f"{what}: {without * 1000:.2f} ms without, {with_it * 1000:.2f} ms with: ratio {ratio:.3f}\n")


@contextmanager
def _servers() -> Iterator[tuple[EmbeddedPostgres, dict[str, str], Signer]]:
    with tempfile.TemporaryDirectory(prefix="souche-") as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres.start(Path(folder) / "pg") as postgres, EmbeddedRedis.start(Path(folder) / "r") as redis:
            for service in SERVICES:
                migrations.upgrade(service, postgres.url(), postgres.url(f"souche_{service}"))
            signer = Signer.generate()
            urls = {service: postgres.url(f"souche_{service}") for service in SERVICES}
            addresses = {service: f"http://127.0.0.1:{free_port()}" for service in SERVICES}
            environ = environment.generate(signer, urls, redis.url, addresses) | {"LOG_LEVEL": "ERROR"}
            yield postgres, environ, signer


if __name__ == "__main__":
    main()
