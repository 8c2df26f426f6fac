"""The containers as IT deploys them: built, started, used and scaled, from docker-compose.yml and a filled-in .env.

Needs a Docker engine, and skips where none answers. The régie pays, so that no operator is needed.
"""

import contextlib
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from demo.calls import Calls, Identity, Unexpected
from demo.year import ADMIN
from shared.config import SERVICES
from souche.keys import Signer, generate_secrets
from tests.journey.conftest import PLACE

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
PORTS = {"issuer": 8001, "redeemer": 8002, "operator-bridge": 8003}
PLACES = f"{PLACE}p1,82854918800021,Maison des services,Agen,47000,1 place de la Mairie,2026-01-05,\n"
# The tests' ports are any that are free; nothing else is changed.
OVERRIDE = "services:\n" + "".join(
    f'  {name}:\n    ports: !override ["127.0.0.1::{port}"]\n' for name, port in PORTS.items()
)


def engine_answers() -> bool:
    return bool(shutil.which("docker")) and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


if not engine_answers():
    pytestmark.append(pytest.mark.skip("no Docker engine answers"))


@dataclass
class Deployment:
    """The containers of one project."""

    folder: Path
    project: str
    calls: Calls
    addresses: dict[str, str]

    def compose(self, *arguments: str) -> str:
        """Runs `docker compose` to its end, and gives what it says."""
        files = ["-f", str(ROOT / "docker-compose.yml"), "-f", str(self.folder / "ports.yml")]
        command = ["docker", "compose", "-p", self.project, "--project-directory", str(ROOT), *files]
        done = subprocess.run(
            [*command, "--env-file", str(self.folder / "settings.env"), *arguments], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def find(self) -> None:
        """Looks where the services listen now."""
        for name, port in PORTS.items():
            self.addresses[name.replace("-", "_")] = f"http://{self.compose('port', name, str(port)).strip()}"

    def containers(self) -> list[dict[str, str]]:
        """What runs."""
        return [json.loads(line) for line in self.compose("ps", "-a", "--format", "json").splitlines()]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder, signer = tmp_path_factory.mktemp("compose"), Signer.generate()
    passwords = {name: secrets.token_urlsafe(12) for name in ("souche", *(f"souche_{service}" for service in SERVICES))}
    settings = {
        "POSTGRES_PASSWORD": passwords["souche"],
        "DATABASE_URL": f"postgresql://souche:{passwords['souche']}@postgres/souche",
        "REDIS_URL": "redis://redis:6379/0",
        "SWEEP_SECONDS": "2",
        **{f"{name.replace('-', '_').upper()}_URL": f"http://{name}:{port}" for name, port in PORTS.items()},
        **generate_secrets(signer),
        **{
            f"{service.upper()}_DATABASE_URL": f"postgresql://souche_{service}:{passwords[f'souche_{service}']}@postgres/souche"
            for service in SERVICES
        },
    }
    (folder / "settings.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    (folder / "ports.yml").write_text(OVERRIDE)
    addresses: dict[str, str] = {}
    made = Deployment(folder, f"souche-test-{uuid4().hex[:8]}", Calls(signer, addresses), addresses)
    try:
        made.compose("up", "--build", "--detach", "--wait", "--wait-timeout", "240")
        made.find()
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.compose("down", "--volumes", "--timeout", "20")


def test_every_container_runs_and_those_that_can_say_so_are_healthy(deployment: Deployment) -> None:
    found = {each["Service"]: each for each in deployment.containers()}
    assert str(found.pop("migrate")["ExitCode"]) == "0"
    assert {each["State"] for each in found.values()} == {"running"}
    healthy = {name for name, each in found.items() if each["Health"] == "healthy"}
    assert healthy >= {"postgres", "redis", *PORTS}


def test_no_container_of_ours_is_root_or_can_write_its_files(deployment: Deployment) -> None:
    for name in (*PORTS, "issuer-worker", "beat"):
        assert (
            deployment.compose("exec", "-T", name, "python", "-c", "import os; print(os.getuid())").strip() == "10001"
        )
        write = "try: open('/opt/souche/x', 'w'); print('written')\nexcept OSError as error: print(error.strerror)"
        assert deployment.compose("exec", "-T", name, "python", "-c", write).strip() == "Read-only file system"


def test_a_cheque_goes_its_whole_way_and_all_balances(deployment: Deployment) -> None:
    codes = _granted(deployment)
    structure = _structure(deployment)
    _redeem(deployment, structure, codes)
    assert "redeemed" in _verify(deployment)


def test_more_tills_and_more_workers_can_be_added_while_it_runs(deployment: Deployment) -> None:
    deployment.compose(
        "up", "--detach", "--wait", "--no-recreate", "--scale", "redeemer=3", "--scale", "redeemer-worker=3"
    )
    running = [each["Service"] for each in deployment.containers() if each["State"] == "running"]
    assert running.count("redeemer") == 3
    assert running.count("redeemer-worker") == 3
    assert "redeemed" in _verify(deployment)


def _granted(deployment: Deployment) -> list[str]:
    calls = deployment.calls
    programme = {"code": "pass", "name": "Pass numérique", "validity": {"months": 12}}
    calls.post("issuer", "/v1/programmes", ADMIN, programme, key="programme")
    envelope = {
        "programme": "pass",
        "funder": "État",
        "convention_reference": "C-1",
        "amount_cents": 100_000,
        "starts_on": "2020-01-01",
        "ends_on": "2099-12-31",
    }
    calls.post("issuer", "/v1/envelopes", ADMIN, envelope, key="envelope")
    calls.post("issuer", "/v1/prescribers/imports", ADMIN, PLACES.encode())
    [prescriber] = calls.get("issuer", "/v1/prescribers", ADMIN)["items"]
    adviser = Identity("prescriber", prescriber["prescriber_id"])
    asked = {"programme": "pass", "amount_cents": 5000, "reason": "évaluation"}
    made = calls.post("issuer", "/v1/grants", adviser, asked, key="grant")
    return [cheque["code"] for cheque in made["cheques"]]


def _structure(deployment: Deployment) -> Identity:
    """A structure that is affiliated to the régie's contract."""
    calls = deployment.calls
    contract = {"code": "regie", "operator": "regie", "programme": "pass", "starts_on": "2026-01-01"}
    contract_id = calls.post("operator_bridge", "/v1/contracts", ADMIN, contract, key="contract")["contract_id"]
    calls.post("operator_bridge", f"/v1/contracts/{contract_id}/state", ADMIN, {"state": "live"})
    calls.post("redeemer", "/v1/structures/imports", ADMIN, PLACES.encode())
    [structure] = calls.get("redeemer", "/v1/structures", ADMIN)["items"]
    affiliation = {"structure_id": structure["structure_id"], "contract_id": contract_id, "starts_on": "2026-01-01"}
    _eventually(lambda: calls.post("redeemer", "/v1/affiliations", ADMIN, affiliation, key=str(uuid4())))
    return Identity("structure", structure["structure_id"])


def _redeem(deployment: Deployment, till: Identity, codes: list[str]) -> None:
    body = {"codes": codes}
    _eventually(lambda: deployment.calls.post("redeemer", "/v1/redemptions", till, body, key=str(uuid4())))


def _verify(deployment: Deployment) -> str:
    environ = [
        option
        for service in SERVICES
        for option in ("-e", f"{service.upper()}_DATABASE_URL={_url(deployment, service)}")
    ]
    return deployment.compose("run", "--rm", "-T", *environ, "migrate", "verify", "--wait", "30")


def _url(deployment: Deployment, service: str) -> str:
    lines = (deployment.folder / "settings.env").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{service.upper()}_DATABASE_URL="))


def _eventually(act: Callable[[], object], seconds: float = 30.0) -> None:
    """Tries until it is not refused: news takes a moment."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            act()
        except Unexpected:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return
