"""A simulated operator's messages when they are to come twice and in any order."""

import base64
import json
import threading
from collections import Counter

from flask import Flask, request
from flask.typing import ResponseReturnValue

from demo.simulators.faults import MESSAGES, Faults
from demo.simulators.webhooks import Sender
from demo.stack.embedded import free_port
from tests.serving import served

NUMBER = 20


def test_every_message_comes_twice_and_not_in_its_order() -> None:
    came: list[int] = []
    all_there = threading.Event()
    door = Flask("door")

    @door.post("/")
    def take() -> ResponseReturnValue:
        came.append(json.loads(request.data)["data"]["number"])
        if len(came) >= 2 * NUMBER:
            all_there.set()
        return "", 204

    faults = Faults(MESSAGES)
    faults.order("repeat_webhooks", 1000, 0)
    faults.order("disorder_webhooks", 1000, 0.5)
    address = f"http://127.0.0.1:{free_port()}"
    with served(door, address):
        sender = Sender(address, f"whsec_{base64.b64encode(b'a' * 32).decode()}", faults)
        for number in range(NUMBER):
            sender.send("redemption.made", {"number": number})
        assert all_there.wait(30)
    assert Counter(came) == dict.fromkeys(range(NUMBER), 2)
    assert came != sorted(came)
