"""A grant of five cheques over HTTP, against pgbench with the statements that such a grant says to the database."""

from collections.abc import Iterator
from itertools import count

from benchmarks import desk, pgbench, statements
from benchmarks.desk import Desk
from benchmarks.load import Clients
from benchmarks.machine import machine
from benchmarks.table import Line, by_turns
from services import issuer
from shared.settings import settings

CLIENTS = 16
_WARM = 300
_MOST = 1_500
_LISTENED = 6
_KNOWN_AFTER = 10
"""Requests after which each statement has been prepared and every cache is filled."""


def throughput(quick: bool) -> Iterator[Line]:
    """Grants a second, by turns."""
    seconds, turns = (4, 3) if quick else (8, 5)
    with machine(desk.SERVICE) as stage:
        office = Desk(stage, stage.serve(desk.SERVICE))
        script = script_of(office)
        clients = Clients(office.port, CLIENTS)
        clients.flat_out(office.grants(_WARM))
        begun = count(0, 1_000_000)

        def ours() -> float:
            return clients.flat_out(office.grants(_MOST * seconds), seconds).rate

        def theirs() -> float:
            variables = {"clients": str(CLIENTS), "i": str(next(begun))}
            return pgbench.run(stage, f"souche_{desk.SERVICE}", script, variables, CLIENTS, seconds)

        ratio = by_turns(ours, theirs, turns)
        number = script.count(";\n")
        note = f"{number} statements, BEGIN and COMMIT included; all charge one envelope, on either side"
        yield ratio.line("grant of 5 cheques over HTTP", "pgbench with its statements", 0.25, "grants", note)


def script_of(office: Desk) -> str:
    """The script of one grant, heard in an application of this process, which says what the deployed one says."""
    app = issuer.create_app(settings.load(desk.SERVICE, office.machine.environ | {"LOG_LEVEL": "ERROR"}))
    client, engine = app.test_client(), app.extensions["souche"].runtime.engine

    def grant() -> None:
        answer = client.post("/v1/grants", json=desk.ORDER, headers=office.headers())
        if answer.status_code != 201:
            raise desk.Refused(answer.text)

    for _ in range(_KNOWN_AFTER):
        grant()
    heard = sorted((statements.heard(engine, grant) for _ in range(_LISTENED)), key=len)
    engine.dispose()
    return statements.script(*heard[:2])  # the others read the list of revoked tokens too, as is done every 2 seconds
