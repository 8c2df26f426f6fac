"""The containers as IT deploys them: docker-compose.yml as it stands, a filled-in .env, secrets in files."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

from demo.acts.calls import Calls, Identity, Unexpected
from demo.acts.year import ADMIN
from souche.keys import Signer
from tests.journey.conftest import PLACE

ROOT = Path(__file__).resolve().parents[2]
PORTS = {"issuer": 8001, "redeemer": 8002, "operator-bridge": 8003}
WORKERS = tuple(f"{name}{long}-worker" for name in PORTS for long in ("", "-long"))
PLACES = f"{PLACE}p1,82854918800021,Maison des services,Agen,47000,1 place de la Mairie,2026-01-05,\n"
# What stands beside the secrets and is none.
OPEN = ("TOKEN_PUBLIC_KEYS",)
DOORS = ("ISSUER", "REDEEMER", "OPERATOR_BRIDGE", "SIMULATOR", "PROMETHEUS")


@dataclass
class Deployment:
    """The containers of one project, and what is called in them."""

    folder: Path
    signer: Signer
    environ: dict[str, str]
    addresses: dict[str, str] = field(default_factory=dict)
    calls: Calls = field(init=False)

    def __post_init__(self) -> None:
        self.calls = Calls(self.signer, self.addresses)

    def run(self, *command: str) -> str:
        """Runs a command to its end as IT would, and gives what it says."""
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def compose(self, *arguments: str) -> str:
        """Runs `docker compose`."""
        return self.run("docker", "compose", *arguments)

    def up(self, *arguments: str) -> None:
        """Starts what does not run, waits until it is healthy, and looks where the services listen now."""
        self.compose("up", "--detach", "--wait", "--wait-timeout", "300", *arguments)
        self.find()

    def find(self) -> None:
        """Looks where the services listen now."""
        for name, port in PORTS.items():
            self.addresses[name.replace("-", "_")] = f"http://{self.compose('port', name, str(port)).strip()}"

    def containers(self) -> list[dict[str, Any]]:
        """What there is."""
        return [json.loads(line) for line in self.compose("ps", "-a", "--format", "json").splitlines()]

    def count(self, service: str, state: str = "running") -> int:
        """How many containers of a service are in a state."""
        return sum(each["Service"] == service and each["State"] == state for each in self.containers())

    def souche(self, *arguments: str) -> str:
        """A command as docs/operations.md has it run: in a container of its own."""
        here = ("--user", str(os.getuid()), "-v", f"{self.folder}:/here", "-w", "/here")
        return self.compose("run", "--rm", "-T", *here, "console", *arguments)

    def verify(self, wait: int = 60) -> str:
        """`souche verify`."""
        return self.souche("verify", "--wait", str(wait))

    def operator(self, method: str, path: str, body: Any = None) -> Any:
        """Asks the simulated operator what it holds, or has it do something."""
        address = self.compose("port", "simulated-operator", "9000").strip()
        answer = requests.request(method, f"http://{address}{path}", json=body, timeout=10)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def set(self, **settings: str) -> None:
        """Changes settings of .env."""
        with (self.folder / "settings" / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def prepare(self, operator: str) -> None:
        """What a département sets up before its first cheque, the contract with its operator included."""
        calls = self.calls
        programme = {"code": "pass", "name": "Pass numérique", "validity": {"months": 12}}
        calls.post("issuer", "/v1/programmes", ADMIN, programme, key="programme")
        envelope = {
            "programme": "pass",
            "funder": "État",
            "convention_reference": "C-1",
            "amount_cents": 100_000_000,
            "starts_on": "2020-01-01",
            "ends_on": "2099-12-31",
        }
        calls.post("issuer", "/v1/envelopes", ADMIN, envelope, key="envelope")
        calls.post("issuer", "/v1/prescribers/imports", ADMIN, PLACES.encode())
        calls.post("redeemer", "/v1/structures/imports", ADMIN, PLACES.encode())
        contract = {"code": "first", "operator": operator, "programme": "pass", "starts_on": "2026-01-01"}
        contract_id = self.calls.post("operator_bridge", "/v1/contracts", ADMIN, contract, key="first")["contract_id"]
        calls.post("operator_bridge", f"/v1/contracts/{contract_id}/state", ADMIN, {"state": "live"})
        affiliation = {"structure_id": str(self.till.scope), "contract_id": contract_id, "starts_on": "2026-01-01"}
        eventually(lambda: calls.post("redeemer", "/v1/affiliations", ADMIN, affiliation, key=str(uuid4())))

    @property
    def adviser(self) -> Identity:
        """A prescriber."""
        [found] = self.calls.get("issuer", "/v1/prescribers", ADMIN)["items"]
        return Identity("prescriber", found["prescriber_id"])

    @property
    def till(self) -> Identity:
        """A training structure."""
        [found] = self.calls.get("redeemer", "/v1/structures", ADMIN)["items"]
        return Identity("structure", found["structure_id"])

    def grant(self, cheques: int = 5) -> list[dict[str, Any]]:
        """A grant of so many cheques."""
        asked = {"programme": "pass", "amount_cents": 1000 * cheques, "reason": "évaluation"}
        made: dict[str, Any] = self.calls.post("issuer", "/v1/grants", self.adviser, asked, key=str(uuid4()))
        return list(made["cheques"])

    def redeem(self, *cheques: Mapping[str, Any]) -> None:
        """Presents cheques until they are taken: news takes a moment."""
        body, till = {"codes": [cheque["code"] for cheque in cheques]}, self.till
        eventually(lambda: self.calls.post("redeemer", "/v1/redemptions", till, body, key=str(uuid4())))

    def states(self) -> dict[str, int]:
        """Redemptions by how they stand."""
        found: dict[str, int] = {}
        for each in self.calls.get("redeemer", "/v1/redemptions?limit=500", ADMIN)["items"]:
            found[each["state"]] = found.get(each["state"], 0) + 1
        return found


def eventually(act: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Tries until it neither is refused nor says no."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = act()
            if found is not False:
                return found
            failure: Exception | None = None
        except Unexpected as refused:
            failure = refused
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to pass") from failure
        time.sleep(0.3)


def has_image(name: str) -> bool:
    """Whether the engine has an image, or can get it."""
    asked = ({"args": [*command, name]} for command in (["docker", "image", "inspect"], ["docker", "pull", "-q"]))
    return any(subprocess.run(**each, capture_output=True, check=False).returncode == 0 for each in asked)  # type: ignore[call-overload]


def filled_in(folder: Path, name: str, image: str) -> Deployment:
    """A project's settings and secrets, made as IT makes them; nothing is started."""
    made = subprocess.run(
        ["deploy/secrets", str(folder / "settings")],
        cwd=ROOT,
        env=os.environ | {"SOUCHE_IMAGE": image},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    hidden = folder / "settings" / "secrets"
    signer = Signer.read({"TOKEN_PRIVATE_KEY": (hidden / "TOKEN_PRIVATE_KEY").read_text()})
    (hidden / "METRICS_TOKEN").write_text(signer.token("operations", None, "prometheus"))
    (hidden / "METRICS_TOKEN").chmod(0o444)
    (folder / "operators.env").touch()
    environ = {
        "COMPOSE_PROJECT_NAME": name,
        "COMPOSE_FILE": "docker-compose.yml:deploy/compose/secrets.yml",
        "COMPOSE_ENV_FILES": str(folder / "settings" / ".env"),
    }
    deployment = Deployment(folder, signer, environ)
    deployment.set(
        SOUCHE_IMAGE=image,
        SECRETS=str(hidden),
        METRICS_TOKEN_FILE=str(hidden / "METRICS_TOKEN"),
        OPERATORS_ENV=str(folder / "operators.env"),
        SWEEP_SECONDS="2",
        # Tests try cheques until news of them has come; that looks like guessing.
        GUESSES_PER_STRUCTURE="100000",
        GUESSES_PER_ADDRESS="100000",
        GUESSES_IN_ALL="100000",
        # The name under which the image of PostgreSQL knows it may be a plain variable alone.
        POSTGRES_PASSWORD=(hidden / "POSTGRES_PASSWORD").read_text(),
        POSTGRES_PASSWORD_FILE="",
        # Any ports that are free, for the doors whose ports are fixed.
        **dict.fromkeys((*(f"{each}_PORT" for each in DOORS),), "0"),
    )
    return deployment
