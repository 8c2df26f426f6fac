"""All of Souche on one machine, each process for real: databases, three web servers, three workers, beat, the operator.

Whatever ends the block of `running` stops them all, in reverse order, and removes their files.
"""

import contextlib
import importlib.util
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from demo.stack import children, environment, ports
from demo.stack.embedded import EmbeddedPostgres, EmbeddedRedis, free_port
from demo.stack.interruptions import Interrupted, Interruptions
from shared.database.migrations import runner as migrations
from shared.settings import weak_secrets
from shared.settings.settings import SERVICES
from souche.keys import Signer

OK = 200
READY_SECONDS = 60.0
STOP_SECONDS = 8.0
THREADS = 8
# A year in a minute: a till makes the mistakes of months at once, and should not be locked out for it.
HURRY = {
    "GUESSES_PER_STRUCTURE": "10000",
    "GUESSES_PER_ADDRESS": "1000000",
    "GUESSES_IN_ALL": "1000000",
    "SWEEP_SECONDS": "2",
    "DATABASE_POOL_SIZE": str(THREADS),
}


class StackFailed(Exception):
    """A process did not start, or ended by itself; the message says which and where its log is."""


@dataclass
class Stack:
    """What runs, where it listens, and how to sign tokens for it."""

    directory: Path
    interruptions: Interruptions
    signer: Signer
    environ: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    operators: dict[str, str] = field(default_factory=dict)
    """Where the simulated operators listen, by code."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, tuple[Sequence[str], Mapping[str, str]]] = field(default_factory=dict)
    """With what arguments and settings of its own each process was started last."""
    ending: set[str] = field(default_factory=set)
    """The processes whose end is no failure."""
    stopping: bool = False
    failure: str | None = None
    """What went wrong, if anything did; the files are kept then."""

    def start(self, name: str, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        """Start a Python process of ours under a name; its output goes to its log."""
        own = dict(environ or {})
        self.commands[name] = (arguments, own)
        with self.interruptions.held():
            self.processes[name] = children.spawn(
                [sys.executable, *arguments],
                log=self.log(name),
                env=_inherited() | {"TMPDIR": str(self.directory)} | self.environ | own,
                cwd=self.directory,
            )

    def start_again(self, name: str, environ: Mapping[str, str] | None = None) -> None:
        """Start a process as it was started before, with further settings if need be."""
        arguments, own = self.commands[name]
        self.start(name, *arguments, environ={**own, **(environ or {})})
        self.ending.discard(name)

    def expect_end(self, name: str) -> subprocess.Popen[bytes]:
        """A process that may end by itself from now on."""
        self.ending.add(name)
        return self.processes[name]

    def start_souche(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the command line against what runs here, under a name; it ends by itself."""
        self.ending.add(name)
        self.start(name, "-m", "souche", *arguments)
        return self.processes[name]

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.directory / "logs" / f"{name}.log"

    @property
    def settings_file(self) -> Path:
        """The settings of everything that runs here, for a shell to read."""
        return self.directory / "settings.env"

    def write_settings(self) -> None:
        """Write the settings where only we can read them."""
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in sorted(self.environ.items())]
        self.settings_file.touch(mode=0o600)
        self.settings_file.write_text("".join(lines), encoding="utf-8")

    def souche(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against what runs here, to its end."""
        command = [sys.executable, "-m", "souche", *arguments]
        return subprocess.run(
            command, env=_inherited() | self.environ, cwd=self.directory, capture_output=True, text=True
        )

    def stop(self) -> None:
        """Stop all processes of ours, the last started first, killing those that take too long."""
        self.stopping = True
        running = [*reversed(self.processes.values())]
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running:
            children.stop(process, timeout=STOP_SECONDS)

    def remove(self) -> None:
        """Remove the files, unless there was a failure: the logs are kept then."""
        if self.failure is None:
            shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def running(
    operator: str,
    say: Callable[[str], None],
    successors: Sequence[Mapping[str, Any]] = (),
    arguments: Sequence[str] = (),
) -> Iterator[Stack]:
    """Start everything, yield it when it is ready, and stop everything however the block ends.

    `operator` is simulated, and of its successors those that there is a simulator of; `arguments` are further ones of
    its command line. Raises Interrupted on Ctrl-C or SIGTERM, StackFailed where a process fails.
    """
    interruptions = Interruptions()
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(interruptions.installed())
        with interruptions.held():
            stack = Stack(Path(tempfile.mkdtemp(prefix="souche-")), interruptions, _signer())
            cleanup.callback(stack.remove)
        try:
            _start_servers(stack, cleanup, say)
            _migrate(stack, say)
            cleanup.callback(stack.stop)
            _start_services(stack, [{"operator": operator, "arguments": arguments}, *successors], say)
            yield stack
        except Interrupted:
            if stack.failure:
                raise StackFailed(stack.failure) from None
            raise
        finally:
            interruptions.ignore()


def _signer() -> Signer:
    """Signs with a key that nothing but a demonstration accepts."""
    return Signer(weak_secrets.DEMONSTRATION, weak_secrets.demonstration_key())


def _start_servers(stack: Stack, cleanup: contextlib.ExitStack, say: Callable[[str], None]) -> None:
    stack.directory.chmod(0o711)  # PostgreSQL runs as another account where we are root
    (stack.directory / "logs").mkdir()
    owner_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if owner_url:
        environment.refuse_used(owner_url)
    else:
        say("PostgreSQL")
        with stack.interruptions.held():
            postgres = cleanup.enter_context(EmbeddedPostgres.start(stack.directory / "pg"))
            stack.servers["postgresql"] = postgres.process
    if redis_url:
        environment.refuse_silent(redis_url)
    else:
        say("Valkey")
        with stack.interruptions.held():
            valkey = cleanup.enter_context(EmbeddedRedis.start(stack.directory / "redis"))
            stack.servers["valkey"] = valkey.process
    stack.environ = HURRY | {"DATABASE_URL": owner_url or postgres.url(), "REDIS_URL": redis_url or valkey.url}


def _migrate(stack: Stack, say: Callable[[str], None]) -> None:
    say("the schemas of the three services")
    owner_url = stack.environ["DATABASE_URL"]
    for service in SERVICES:
        url = sa.make_url(owner_url).set(username=f"souche_{service}", password=secrets.token_urlsafe(16))
        own_url = url.render_as_string(hide_password=False)
        stack.environ[f"{service.upper()}_DATABASE_URL"] = own_url
        migrations.upgrade(service, owner_url, own_url)


def _start_services(stack: Stack, operators: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> None:
    say("three web services, two workers of each, beat and the simulated operators")
    with ports.exclusive():
        chosen = ports.free_ports()
        stack.addresses = {service: f"http://127.0.0.1:{port}" for service, port in chosen.items()}
        _configure(stack)
        for described in operators:
            if importlib.util.find_spec(f"demo.simulators.{described['operator']}"):
                _start_operator(stack, described["operator"], described.get("arguments", ()))
        stack.write_settings()
        for service, port in chosen.items():
            stack.start(service, "-m", "souche", "serve", service, "--port", str(port), "--threads", str(THREADS))
        _watch(stack)
        for address in (*stack.operators.values(), *stack.addresses.values()):
            _wait_until_ready(address)
    for service in SERVICES:
        for name, jobs in ((f"{service}-worker", "short"), (f"{service}-long-worker", "long")):
            command = ("-m", "souche", "worker", service, "--jobs", jobs)
            stack.start(name, *command, environ={"REMAP_SIGTERM": "SIGTERM"})
    stack.start("beat", "-m", "souche", "beat")


def _configure(stack: Stack) -> None:
    urls = {service: stack.environ[f"{service.upper()}_DATABASE_URL"] for service in SERVICES}
    settings = environment.generate(stack.signer, urls, stack.environ["REDIS_URL"], stack.addresses)
    stack.environ = settings | {"LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING")} | stack.environ


def _start_operator(stack: Stack, operator: str, arguments: Sequence[str]) -> None:
    """Start the simulator of that name, with an account in the operator bridge's settings."""
    module = f"demo.simulators.{operator}"
    with _temporary_files_in(stack.directory):
        account = importlib.import_module(module).Account.generate()
    port = free_port()
    stack.operators[operator] = f"http://127.0.0.1:{port}"
    stack.environ |= account.settings(stack.operators[operator])
    stack.start(operator, "-m", module, *account.arguments(port, stack.addresses["operator_bridge"]), *arguments)


@contextlib.contextmanager
def _temporary_files_in(directory: Path) -> Iterator[None]:
    """What is made meanwhile goes when the directory goes: an operator may be a folder."""
    before, tempfile.tempdir = tempfile.tempdir, str(directory)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _inherited() -> dict[str, str]:
    """Our environment without settings of another deployment: the stack has its own."""
    others = [f"{service.upper()}_" for service in SERVICES] + ["OPERATOR_"]
    if not os.environ.get("REDIS_URL"):
        others.append("BROKER_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(tuple(others))}


def _watch(stack: Stack) -> None:
    """Ends us as a signal would when a process ends by itself."""

    def watch() -> None:
        while not stack.failure:
            for name, process in (stack.servers | dict(stack.processes)).items():
                ended = process.poll() is not None and name not in stack.ending and not stack.stopping
                if ended and (stack.servers | stack.processes).get(name) is process:
                    stack.failure = f"{name} ended by itself with code {process.returncode}: see {stack.log(name)}"
                    os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def _wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{address}/readyz", timeout=2).status_code == OK:
                return
        time.sleep(0.1)
    raise StackFailed(f"{address} was not ready after {READY_SECONDS:.0f} s")
