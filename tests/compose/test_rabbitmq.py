"""RabbitMQ instead of Redis as broker, by one variable."""

from collections.abc import Iterator

import pytest
import requests

from tests.compose.deployment import PORTS, WORKERS, Deployment, eventually, has_image

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]
# The public image, or one of the same that a registry of one's own may have.
IMAGES = ("rabbitmq:4", "rabbitmq:4-trixie")
PASSWORD = "ed5b4bb0f3ca25a1"


@pytest.fixture(scope="module")
def on_rabbitmq(deployment: Deployment) -> Iterator[Deployment]:
    image = next(filter(has_image, IMAGES), None)
    if image is None:
        pytest.skip("the image of RabbitMQ cannot be had")
    profiles = deployment.environ["COMPOSE_PROFILES"]
    deployment.environ["COMPOSE_PROFILES"] = f"{profiles},rabbitmq"
    broker = f"amqp://souche:{PASSWORD}@rabbitmq:5672/"
    deployment.set(RABBITMQ_IMAGE=image, RABBITMQ_PASSWORD=PASSWORD, BROKER_URL=broker)
    deployment.up("--no-build")
    yield deployment
    deployment.set(BROKER_URL="")
    deployment.environ["COMPOSE_PROFILES"] = profiles
    deployment.up("--no-build")
    deployment.compose("stop", "rabbitmq")


def test_a_cheque_goes_its_whole_way_over_rabbitmq(on_rabbitmq: Deployment) -> None:
    assert status(on_rabbitmq) == {"ok"}
    settled = on_rabbitmq.states().get("confirmed", 0)
    on_rabbitmq.redeem(*on_rabbitmq.grant())
    eventually(lambda: on_rabbitmq.states().get("confirmed", 0) == settled + 5)
    on_rabbitmq.verify()


def test_the_length_of_its_queues_is_told(on_rabbitmq: Deployment) -> None:
    on_rabbitmq.compose("stop", *WORKERS)
    on_rabbitmq.grant()
    try:
        eventually(lambda: waiting(on_rabbitmq) > 0, 90)
    finally:
        on_rabbitmq.compose("start", *WORKERS)


def test_tills_go_on_while_it_is_down_and_news_comes_when_it_is_back(on_rabbitmq: Deployment) -> None:
    cheques = on_rabbitmq.grant()
    on_rabbitmq.redeem(cheques[0])
    on_rabbitmq.compose("stop", "rabbitmq")
    assert status(on_rabbitmq) == {"degraded"}
    on_rabbitmq.redeem(*cheques[1:])
    on_rabbitmq.compose("start", "rabbitmq")
    eventually(lambda: status(on_rabbitmq) == {"ok"}, 90)
    on_rabbitmq.verify(120)


def status(deployment: Deployment) -> set[str]:
    """What the three say of themselves."""
    answers = [requests.get(f"{address}/readyz", timeout=10) for address in deployment.addresses.values()]
    assert {answer.status_code for answer in answers} == {200}
    assert len(answers) == len(PORTS)
    return {answer.json()["status"] for answer in answers}


def waiting(deployment: Deployment) -> float:
    """The tasks that wait for a worker, as Prometheus would be told."""
    headers = {"Authorization": f"Bearer {deployment.signer.token('operations', None, 'prometheus')}"}
    text = requests.get(f"{deployment.addresses['issuer']}/metrics", headers=headers, timeout=10).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("souche_queue_tasks{"))
