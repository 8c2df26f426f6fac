"""One deployment for all tests of this folder, with a simulated operator; the image is built anew for it.

Needs a Docker engine, and skips where none answers.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.compose.deployment import ROOT, Deployment, filled_in, has_image

OPERATOR = "docaposte"


def engine_answers() -> bool:
    """Whether there is an engine to deploy on."""
    return bool(shutil.which("docker")) and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def has_proxy() -> bool:
    """Whether the image of the one door before all replicas can be had."""
    return has_image("nginx:1-trixie")


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory, has_proxy: bool) -> Iterator[Deployment]:
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    name = f"souche-test-{uuid4().hex[:8]}"
    image = f"souche:{name}"
    built = subprocess.run(
        ["docker", "build", "-q", "-t", image, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    made = filled_in(tmp_path_factory.mktemp("compose"), name, image)
    made.environ["COMPOSE_PROFILES"] = "simulator,proxy" if has_proxy else "simulator"
    try:
        play = ("--entrypoint", "python", "migrate", "-m", "demo.simulators", "settings", OPERATOR)
        (made.folder / "operators.env").write_text(made.compose("run", "--rm", "--no-deps", "-T", *play))
        made.up("--no-build")
        made.prepare(OPERATOR)
        yield made
    except AssertionError:
        with contextlib.suppress(AssertionError):
            print(made.compose("logs", "--tail", "40"))
        raise
    finally:
        profiles = {"COMPOSE_PROFILES": "simulator,proxy,rabbitmq,metrics"}
        made.environ |= profiles
        with contextlib.suppress(AssertionError):
            made.compose("down", "--volumes", "--timeout", "20", "--remove-orphans")
        for tag in ("", "-next"):
            subprocess.run(["docker", "image", "rm", "-f", f"{image}{tag}"], capture_output=True, cwd=ROOT, check=False)
