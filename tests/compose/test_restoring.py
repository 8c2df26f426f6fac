"""`deploy/backup` and `deploy/restore`, for each service in turn and for all: what IT does when a disk is lost."""

from pathlib import Path

import pytest

from demo.acts.calls import Unexpected
from tests.compose.deployment import Deployment, eventually

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]
Cheques = list[dict[str, str]]


@pytest.fixture(scope="module")
def backup(deployment: Deployment) -> str:
    """A backup, taken while the containers run."""
    return back_up(deployment)


@pytest.fixture(scope="module")
def since(deployment: Deployment, backup: str) -> Cheques:
    """Cheques of which the first three were spent since, one at the operator's till, and all of them were told."""
    cheques = deployment.grant()
    deployment.redeem(*cheques[:2])
    at_their_till = {"code": cheques[2]["code"], "structure": str(deployment.till.scope)}
    eventually(lambda: took(deployment, at_their_till))
    deployment.verify()
    eventually(lambda: deployment.states().get("due", 0) == 0)
    deployment.verify()
    return cheques


def test_a_redeemer_that_is_put_back_spends_no_cheque_again(
    deployment: Deployment, backup: str, since: Cheques
) -> None:
    deployment.run("deploy/restore", backup, "redeemer")
    deployment.find()
    for cheque in since[:3]:
        assert refused(deployment, cheque)
    said = deployment.verify()
    assert "the log of redeemer was restored" in said
    assert "every one fits" in said
    deployment.redeem(since[3])
    assert "every one fits" in deployment.verify()


def test_a_bridge_that_is_put_back_tells_the_operator_nothing_twice(
    deployment: Deployment, backup: str, since: Cheques
) -> None:
    held = deployment.operator("GET", "/admin/state")
    deployment.run("deploy/restore", backup, "operator_bridge")
    deployment.find()
    deployment.souche("operator", "poll", "first")
    assert "every one fits" in deployment.verify()
    eventually(lambda: deployment.states().get("due", 0) == 0)
    assert deployment.operator("GET", "/admin/state")["cheques"] == held["cheques"]
    assert deployment.states().get("refused", 0) == 0


def test_of_an_issuer_that_is_put_back_all_that_it_lost_is_named(deployment: Deployment, since: Cheques) -> None:
    later = back_up(deployment)
    lost = deployment.grant()
    deployment.redeem(lost[0])
    deployment.verify()
    deployment.run("deploy/restore", later, "issuer")
    deployment.find()
    with pytest.raises(AssertionError) as told:
        deployment.verify()
    assert f"{len(lost)} differences" in str(told.value)
    for cheque in lost:
        assert f"cheque {cheque['cheque_id']} is unknown to the issuer: it is of grant" in str(told.value)
    deployment.redeem(*deployment.grant())  # it goes on
    deployment.run("deploy/restore", later)  # all three to the same moment: they agree, and know nothing of it
    deployment.find()
    assert "every one fits" in deployment.verify()
    deployment.redeem(*deployment.grant())
    assert "every one fits" in deployment.verify()


def back_up(deployment: Deployment) -> str:
    file = deployment.run("deploy/backup", str(deployment.folder / "backups")).strip()
    assert Path(file).stat().st_mode & 0o077 == 0
    return file


def took(deployment: Deployment, at_their_till: dict[str, str]) -> bool:
    """Whether the operator's own till took a cheque: it has to have been told of it first."""
    try:
        deployment.operator("POST", "/till/redemptions", at_their_till)
    except AssertionError:
        return False
    return True


def refused(deployment: Deployment, cheque: dict[str, str]) -> bool:
    """Whether our till refuses a cheque, as one that is spent."""
    with pytest.raises(Unexpected, match="already-redeemed"):
        deployment.calls.post(
            "redeemer", "/v1/redemptions", deployment.till, {"codes": [cheque["code"]]}, key=cheque["cheque_id"]
        )
    return True
