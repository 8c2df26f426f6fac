"""Messages of an operator taken in (verified, stored durably, answered), against a bare route that reads the body.

The messages are of the simulated Docaposte: signed by Standard Webhooks, each with an id of its own. Both sides are
under the same server with the same settings, and are sent the same bytes.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

from standardwebhooks.webhooks import Webhook

from benchmarks.load import Clients, post
from benchmarks.machine import machine
from benchmarks.table import Line, by_turns
from demo.simulators.docaposte import CODE, Account

SERVICE = "operator_bridge"
CLIENTS = 16
_MOST = 3_000
_WARM = 1_000


def throughput(quick: bool) -> Iterator[Line]:
    """Messages a second, by turns."""
    seconds, turns = (4, 3) if quick else (8, 5)
    account = Account.generate()
    with machine(SERVICE) as stage:
        taker = Clients(stage.serve(SERVICE, account.settings("http://127.0.0.1:9")), CLIENTS, expected=202)
        bare = Clients(stage.serve_bare(), CLIENTS)
        taker.flat_out(messages(account, _WARM))
        spare = messages(account, _MOST * seconds) * 8

        def ours() -> float:
            return taker.flat_out(messages(account, _MOST * seconds), seconds).rate

        ratio = by_turns(ours, lambda: bare.flat_out(spare, seconds).rate, turns)
        yield ratio.line("webhook intake, 16 clients", "a bare Flask route that reads the body", 0.5, "messages")


def messages(account: Account, number: int) -> list[bytes]:
    """So many requests, each with a redemption at the operator's own till."""
    signer, path = Webhook(account.webhook_secret), f"/v1/operators/{CODE}/webhooks"
    return [post(path, body, _signed(signer, body)) for body in map(_redemption, range(number))]


def _redemption(_: int) -> bytes:
    data = {"reference": str(uuid4()), "cheque": str(uuid4()), "structure": str(uuid4()), "amount_cents": 1000}
    return json.dumps({"type": "redemption.made", "data": data | {"redeemed_at": "2026-01-15T10:00:00+00:00"}}).encode()


def _signed(signer: Webhook, body: bytes) -> dict[str, str]:
    identifier, now = f"msg_{uuid4().hex}", datetime.now(UTC)
    signature = signer.sign(identifier, now, body.decode())
    return {"webhook-id": identifier, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
