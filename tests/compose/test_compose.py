"""The containers run as they are meant to, and a cheque goes its whole way through them.

The tests of this folder go one after the other over the same containers: what one did is there for the next.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.settings.settings import SERVICES
from tests.compose.deployment import OPEN, PORTS, WORKERS, Deployment, eventually

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]
OURS = (*PORTS, *WORKERS, "beat")


def test_every_container_runs_and_says_that_it_is_healthy(deployment: Deployment) -> None:
    found = {each["Service"]: each for each in deployment.containers()}
    assert str(found.pop("migrate")["ExitCode"]) == "0"
    assert {each["State"] for each in found.values()} == {"running"}
    eventually(
        lambda: {each["Health"] for each in deployment.containers() if each["State"] == "running"} == {"healthy"}
    )
    assert set(found) >= {"postgres", "redis", *OURS}


def test_no_container_of_ours_is_root_or_can_write_its_files(deployment: Deployment) -> None:
    for name in OURS:
        assert (
            deployment.compose("exec", "-T", name, "python", "-c", "import os; print(os.getuid())").strip() == "10001"
        )
        write = "try: open('/opt/souche/x', 'w'); print('written')\nexcept OSError as error: print(error.strerror)"
        assert deployment.compose("exec", "-T", name, "python", "-c", write).strip() == "Read-only file system"


def test_nothing_that_installs_or_builds_is_left_in_the_image(deployment: Deployment) -> None:
    look = """
import importlib.util, shutil
modules = [name for name in ("pip", "ensurepip", "setuptools", "wheel") if importlib.util.find_spec(name)]
programs = [name for name in ("pip", "pip3", "gcc", "cc", "make", "git", "postgres") if shutil.which(name)]
print(modules, programs)
"""
    for python in ("python", "/usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin python3"):
        assert deployment.compose("exec", "-T", "issuer", *python.split(), "-c", look).strip() == "[] []"


def test_every_container_is_limited_and_keeps_few_logs(deployment: Deployment) -> None:
    ids = deployment.compose("ps", "-q").split()
    for found in json.loads(deployment.run("docker", "inspect", *ids)):
        host, name = found["HostConfig"], found["Name"]
        assert host["Memory"] > 0, name
        assert host["NanoCpus"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}}, name
        assert "no-new-privileges:true" in host["SecurityOpt"], name


REACH = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def reaches(where):
    try:
        socket.create_connection(where.split(":"), 3).close()
    except OSError:
        return False
    return True
where = sys.argv[1:]
with ThreadPoolExecutor() as pool:
    print(*(place for place, reached in zip(where, pool.map(reaches, where)) if reached))
"""


def test_only_those_who_must_reach_the_database_the_queue_and_the_world(deployment: Deployment) -> None:
    may = {
        "postgres:5432": {*PORTS, *WORKERS},
        "redis:6379": {*PORTS, *WORKERS, "beat"},
        "simulated-operator:9000": {
            *PORTS,
            "operator-bridge-worker",
            "operator-bridge-long-worker",
            "simulated-operator",
        },
    }
    asked = {name: ("exec", "-T", name, "python", "-c", REACH, *may) for name in (*OURS, "simulated-operator")}
    with ThreadPoolExecutor() as pool:
        reached = dict(
            zip(asked, pool.map(lambda command: deployment.compose(*command).split(), asked.values()), strict=True)
        )
    assert {name: set(found) for name, found in reached.items()} == {
        name: {place for place, those in may.items() if name in those} for name in asked
    }


def test_no_secret_is_in_a_containers_environment(deployment: Deployment) -> None:
    files = [each for each in (deployment.folder / "settings" / "secrets").iterdir() if each.name not in OPEN]
    hidden = [each.read_text() for each in files]
    for name in OURS:
        environment = deployment.compose("exec", "-T", name, "env")
        assert not [secret for secret in hidden if secret in environment], name


def test_each_services_role_may_do_what_it_must_and_no_more(deployment: Deployment) -> None:
    for service in SERVICES:
        other = next(each for each in SERVICES if each != service)
        for statement, allowed in {
            f"SELECT count(*) FROM {service}.event": True,
            f"SELECT count(*) FROM {other}.event": False,
            f"DELETE FROM {service}.event": False,
            f"CREATE TABLE {service}.mine (id int)": False,
            "CREATE TABLE public.mine (id int)": False,
            "CREATE ROLE mine": False,
        }.items():
            query = ["psql", "-q", "-U", f"souche_{service}", "-d", "souche", "-c", statement]
            done = succeeds(deployment, ["docker", "compose", "exec", "-T", "postgres", *query])
            assert done is allowed, (service, statement)


def test_a_cheque_goes_its_whole_way_to_the_operator_and_back(deployment: Deployment) -> None:
    spent, other = deployment.grant(), deployment.grant()
    deployment.redeem(*spent)
    eventually(lambda: deployment.states() == {"confirmed": 5})
    held = deployment.operator("GET", "/admin/state")
    assert held["cheques"] == {"registered": {"number": 5, "cents": 5000}, "redeemed": {"number": 5, "cents": 5000}}
    at_their_till = {"code": other[0]["code"], "structure": str(deployment.till.scope)}
    deployment.operator("POST", "/till/redemptions", at_their_till)
    deployment.operator("POST", "/admin/payments", {})
    eventually(lambda: deployment.states() == {"paid": 6})  # told by webhook: nothing was polled
    assert "10 cheques: every one fits" in deployment.verify()


def test_more_tills_and_more_workers_can_be_added_while_it_runs(deployment: Deployment) -> None:
    deployment.compose(
        "up", "--detach", "--wait", "--no-build", "--scale", "redeemer=3", "--scale", "redeemer-worker=3"
    )
    assert deployment.count("redeemer") == 3
    assert deployment.count("redeemer-worker") == 3
    deployment.find()
    deployment.redeem(*deployment.grant())
    deployment.verify()


def test_workers_that_are_stopped_in_the_middle_lose_nothing_and_do_nothing_twice(deployment: Deployment) -> None:
    deployment.operator("POST", "/admin/faults", {"name": "slow", "times": 3, "seconds": 3})
    cheques = [cheque for _ in range(40) for cheque in deployment.grant()]
    eventually(lambda: orders(deployment, "sent") > 0)
    deployment.compose("stop", *WORKERS)
    stopped = [each for each in deployment.containers() if each["Service"] in WORKERS]
    assert {str(each["ExitCode"]) for each in stopped} == {"0"}
    deployment.compose("start", *WORKERS)
    eventually(
        lambda: orders(deployment, "pending") + orders(deployment, "sent") + orders(deployment, "unknown") == 0, 120
    )
    held = deployment.operator("GET", "/admin/state")["cheques"]
    assert sum(each["number"] for each in held.values()) == 15 + len(cheques)
    deployment.verify(120)


def orders(deployment: Deployment, state: str) -> int:
    """How many orders to the operator are in a state, by the database."""
    query = f"SELECT count(*) FROM operator_bridge.operator_order WHERE state = '{state}'"
    return int(deployment.compose("exec", "-T", "postgres", "psql", "-U", "souche", "-d", "souche", "-Atc", query))


def succeeds(deployment: Deployment, command: list[str]) -> bool:
    """Whether a command that may fail does not."""
    try:
        deployment.run(*command)
    except AssertionError:
        return False
    return True
