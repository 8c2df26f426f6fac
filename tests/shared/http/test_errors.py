"""A deadlock, a lock that is held for long and a slow statement are each told as what they are, not as an outage."""

import threading

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_smorest import Blueprint

from shared.access.tokens import public
from shared.http import app as application
from shared.http.request_context import transaction
from shared.settings import settings
from tests.shared.conftest import Logs

LOCK = sa.text("SELECT pg_advisory_xact_lock(:number)")


@pytest.fixture
def meeting() -> threading.Barrier:
    return threading.Barrier(2, timeout=20)


@pytest.fixture
def client(logs: Logs, meeting: threading.Barrier) -> FlaskClient:
    blueprint = Blueprint("trouble", __name__, url_prefix="/v1/trouble")

    @blueprint.route("/locks/<int:first>/<int:second>")
    @public
    @blueprint.response(204)
    def lock_both(first: int, second: int) -> None:
        """Locks two things, one after the other."""
        with transaction() as session:
            session.execute(LOCK, {"number": first})
            meeting.wait()
            session.execute(LOCK, {"number": second})

    @blueprint.route("/slow/<setting>")
    @public
    @blueprint.response(204)
    def be_slow(setting: str) -> None:
        """Runs into a limit of the database."""
        with transaction() as session:
            session.execute(sa.text("SELECT set_config(:name, '100ms', true)"), {"name": setting})
            session.execute(sa.text("SELECT pg_sleep(1)") if setting == "statement_timeout" else LOCK, {"number": 7})

    app: Flask = application.build("issuer", settings.load("issuer", logs.environ), [blueprint])
    return app.test_client()


def test_of_two_requests_in_a_deadlock_one_is_told_to_try_again(client: FlaskClient) -> None:
    answers = []
    other = threading.Thread(
        target=lambda: answers.append(client.application.test_client().get("/v1/trouble/locks/2/1"))
    )
    other.start()
    answers.append(client.get("/v1/trouble/locks/1/2"))
    other.join()
    [done, refused] = sorted(answers, key=lambda answer: answer.status_code)
    assert (done.status_code, refused.status_code) == (204, 503)
    assert (refused.get_json()["type"], refused.headers["Retry-After"]) == ("urn:souche:deadlock", "1")


def test_a_statement_that_takes_too_long_is_told_as_such(client: FlaskClient) -> None:
    refused = client.get("/v1/trouble/slow/statement_timeout")
    assert (refused.status_code, refused.get_json()["type"]) == (503, "urn:souche:statement-timeout")
    assert refused.headers["Retry-After"] == "30"


def test_a_lock_that_another_holds_is_told_as_such(client: FlaskClient, logs: Logs) -> None:
    with logs.runtime("issuer").engine.begin() as connection:
        connection.execute(LOCK, {"number": 7})
        refused = client.get("/v1/trouble/slow/lock_timeout")
    assert (refused.status_code, refused.get_json()["type"]) == (503, "urn:souche:lock-timeout")
    assert refused.headers["Retry-After"] == "5"


def test_a_database_that_is_down_is_told_as_before(logs: Logs) -> None:
    down = settings.load("issuer", logs.environ | {"ISSUER_DATABASE_URL": "postgresql://souche@127.0.0.1:1/none"})
    app = application.build("issuer", down, [])

    @app.get("/v1/ask")
    @public
    def ask() -> str:
        with transaction() as session:
            return str(session.execute(sa.text("SELECT 1")).scalar())

    refused = app.test_client().get("/v1/ask")
    assert (refused.status_code, refused.get_json()["type"]) == (503, "urn:souche:unavailable")
