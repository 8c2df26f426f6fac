"""pgbench of the same PostgreSQL: what the statements alone reach, prepared, by as many clients."""

import os
import re
import subprocess

from benchmarks.machine import Machine

_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_FAILED = re.compile(r"number of failed transactions: ([0-9]+)")


class PgbenchFailed(Exception):
    """pgbench did not do all that it was asked; the text is what it said."""


def command(machine: Machine, role: str, variables: dict[str, str], clients: int, seconds: float) -> list[str]:
    """Its command line; the script is `script.sql` in the machine's folder."""
    arguments = [part for name, value in variables.items() for part in ("-D", f"{name}={value}")]
    size = ["-c", str(clients), "-j", "2", "-T", str(round(seconds))]
    where = ["-h", str(machine.postgres.directory), "-U", role, machine.database]
    binary = str(machine.postgres.bin / "pgbench")
    return [binary, "-n", "-M", "prepared", *size, *arguments, "-f", "script.sql", *where]


def run(
    machine: Machine, role: str, script: str, variables: dict[str, str], clients: int, seconds: float, options: str = ""
) -> float:
    """Transactions a second; raises PgbenchFailed where one of them failed."""
    (machine.folder / "script.sql").write_text(script, encoding="utf-8")
    environ = {**os.environ, "PGOPTIONS": options}
    line = command(machine, role, variables, clients, seconds)
    done = subprocess.run(line, env=environ, cwd=machine.folder, capture_output=True, text=True)  # noqa: S603
    failed, rate = _FAILED.search(done.stdout), _RATE.search(done.stdout)
    if done.returncode or not rate or not failed or int(failed[1]):
        raise PgbenchFailed(f"{done.stdout}\n{done.stderr}")
    return float(rate[1])
