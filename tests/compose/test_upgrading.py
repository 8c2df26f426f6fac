"""The next version, with a migration in it, comes while prescribers grant and tills redeem: nobody is refused."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compose.deployment import PORTS, Deployment
from tests.compose.load import Load

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

# What a next version may be: it adds a column to tables that are in use.
REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{service}_next", "{head}"
branch_labels = depends_on = None


def upgrade() -> None:
    op.add_column("cheque", sa.Column("next_note", sa.Text))
    op.create_index("cheque_next_idx", "cheque", ["next_note"], postgresql_where=sa.text("next_note IS NOT NULL"))


def downgrade() -> None:
    op.drop_column("cheque", "next_note")
"""


def test_an_upgrade_under_load_refuses_nothing(deployment: Deployment, has_proxy: bool, tmp_path: Path) -> None:
    before = {name: deployment.compose("ps", "-q", name).split() for name in PORTS}
    image = next_version(deployment, tmp_path)
    way_in = through_the_proxy(deployment) if has_proxy else to_every_replica()
    with Load(deployment, way_in).going_on() as load:
        while len(load.redeemed) < 20:
            load.stopped.wait(0.5)
        deployment.set(SOUCHE_IMAGE=image)
        deployment.environ["NO_BUILD"] = "1"
        deployment.run("deploy/upgrade")
        done = len(load.redeemed)
        while len(load.redeemed) < done + 20:
            load.stopped.wait(0.5)
    print(dict(load.answers), f"slowest {load.slowest:.1f} s")
    assert load.faults == []
    assert {answer for answer in load.answers if not answer.endswith("no connection")} == {
        "issuer: 201",
        "redeemer: 201",
    }
    if has_proxy:
        assert "redeemer: no connection" not in load.answers
    assert revisions(deployment) == {"issuer_next", "redeemer_next"}
    for name, old in before.items():
        now = deployment.compose("ps", "-q", name).split()
        assert len(now) == len(old)
        assert not set(now) & set(old)
    deployment.find()
    assert "every one fits" in deployment.verify(120)
    assert redeemed(deployment, load.redeemed) == len(load.redeemed)


def next_version(deployment: Deployment, folder: Path) -> str:
    """An image that is the one in use, and one revision more of two services."""
    current = f"souche:{deployment.environ['COMPOSE_PROJECT_NAME']}"
    packages = "/opt/souche/lib/python3.13/site-packages/services"
    steps = [f"FROM {current}"]
    for service in ("issuer", "redeemer"):
        head = deployment.compose("exec", "-T", "postgres", *psql(f"SELECT version_num FROM {service}.alembic_version"))
        (folder / f"{service}.py").write_text(REVISION.format(service=service, head=head.strip()))
        steps.append(f"COPY {service}.py {packages}/{service}/migrations/versions/9999_next.py")
    (folder / "Dockerfile").write_text("\n".join(steps) + "\n")
    subprocess.run(["docker", "build", "-q", "-t", f"{current}-next", str(folder)], check=True, capture_output=True)
    return f"{current}-next"


def through_the_proxy(deployment: Deployment) -> Callable[[str], list[str]]:
    """The one door before all replicas."""
    doors = {name: [f"http://{deployment.compose('port', 'proxy', str(port)).strip()}"] for name, port in PORTS.items()}
    return doors.__getitem__


def to_every_replica() -> Callable[[str], list[str]]:
    """Every port of a service's range, as a proxy of IT's own has them."""
    ranges = {"issuer": range(8010, 8020), "redeemer": range(8020, 8030), "operator-bridge": range(8030, 8040)}
    return {name: [f"http://127.0.0.1:{port}" for port in ports] for name, ports in ranges.items()}.__getitem__


def psql(query: str) -> list[str]:
    return ["psql", "-U", "souche", "-d", "souche", "-Atc", query]


def revisions(deployment: Deployment) -> set[str]:
    query = "SELECT version_num FROM issuer.alembic_version UNION SELECT version_num FROM redeemer.alembic_version"
    return set(deployment.compose("exec", "-T", "postgres", *psql(query)).split())


def redeemed(deployment: Deployment, cheques: list[str]) -> int:
    """How many of these cheques are redeemed, each once."""
    ids = ",".join(f"'{cheque}'" for cheque in cheques)
    query = f"SELECT count(*) FROM redeemer.redemption WHERE reversed_at IS NULL AND cheque_id IN ({ids})"
    return int(deployment.compose("exec", "-T", "postgres", *psql(query)))
