"""A peer that refuses our token is told apart from one that does not answer."""

import pytest
import structlog
from flask import Flask

from shared.eventlog.peer_client import Peer, PeerRefusesToken, PeerUnavailable
from shared.process.runtime import Runtime
from shared.settings import settings
from souche.keys import Signer
from tests.serving import served
from tests.shared.conftest import Logs


def test_a_refused_token_is_told_as_such_and_another_fault_as_unavailable(logs: Logs, signer: Signer) -> None:
    app = Flask("peer")
    app.add_url_rule("/401", view_func=lambda: ("", 401))
    app.add_url_rule("/500", endpoint="500", view_func=lambda: ("", 500))
    address = logs.environ["ISSUER_URL"]
    with served(app, address):
        peer = Peer("issuer", address, "token")
        with pytest.raises(PeerRefusesToken, match="refuses our service token"):
            peer.get("/401")
        with pytest.raises(PeerUnavailable, match="did not answer") as caught:
            peer.get("/500")
    assert not isinstance(caught.value, PeerRefusesToken)


def test_a_reader_whose_token_is_refused_says_so(logs: Logs) -> None:
    stranger = Signer.generate().service_token("redeemer")
    reader = Runtime(settings.load("redeemer", logs.environ | {"REDEEMER_SERVICE_TOKEN": stranger}))
    with logs.publisher(), structlog.testing.capture_logs() as logged:
        assert reader.pull("issuer", {}) == 0
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["peer_refuses_token"]
