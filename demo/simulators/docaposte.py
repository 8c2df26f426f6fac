"""Docaposte, simulated: a real HTTP server that keeps to the contract written in its adapter, with faults on demand.

    python -m demo.simulators.docaposte --port 9001 --client-id … --client-secret … \\
        --secret whsec_… --webhook-url http://127.0.0.1:8003/v1/operators/docaposte/webhooks

It prints a line when it is ready. `Account.generate()` makes credentials, its `arguments` are this command line and its
`settings` those that the operator bridge needs. What it answers beside the operator's interface is in
`demo.simulators.administration`; what it pays and what its till takes it tells by webhook. Which faults there are is in
`demo.simulators.faults`.

Everything is in memory, unless `--books` names a file to keep it in. Where it is to `die`, the process ends in the
middle of a batch.
"""

import argparse
import base64
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from demo.simulators import administration, calls, serving, statements
from demo.simulators.docaposte_books import KeptRegister
from demo.simulators.docaposte_register import MAX_NAME, MAX_OPERATIONS, Line, Register
from demo.simulators.faults import CALLS, FILES, MESSAGES, STATEMENTS, Faults
from demo.simulators.webhooks import Sender

CODE = "docaposte"
NAME = "Docaposte"
FAULTS = {**CALLS, **MESSAGES, **STATEMENTS}
WITHOUT = dict.fromkeys(FILES, "it exchanges no files")


@dataclass(frozen=True)
class Account:
    """The credentials that the operator and we share."""

    client_id: str
    client_secret: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    old_webhook_secret: str = field(default="", repr=False)
    """While the secret is rotated, the one that is still signed with here and there."""

    @classmethod
    def generate(cls) -> Self:
        """Fresh credentials, in the middle of a rotation."""
        return cls("souche", secrets.token_hex(24), _secret(), _secret())

    def settings(self, url: str) -> dict[str, str]:
        """The operator bridge's settings to work with the simulator at an address."""
        return {
            "OPERATOR_DOCAPOSTE_URL": url,
            "OPERATOR_DOCAPOSTE_CLIENT_ID": self.client_id,
            "OPERATOR_DOCAPOSTE_CLIENT_SECRET": self.client_secret,
            "OPERATOR_DOCAPOSTE_WEBHOOK_SECRETS": ",".join(
                filter(None, [self.webhook_secret, self.old_webhook_secret])
            ),
        }

    def arguments(self, port: int, bridge: str) -> list[str]:
        """The command line of the simulator that works with the operator bridge at an address."""
        return [
            "--port", str(port), "--webhook-url", f"{bridge}/v1/operators/{CODE}/webhooks",
            "--secret", self.webhook_secret, "--old-secret", self.old_webhook_secret,
            "--client-id", self.client_id, "--client-secret", self.client_secret,
        ]  # fmt: skip


def _secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


class Simulator:
    """One simulated operator: its books, its faults, its webhooks, and the application in front of them."""

    def __init__(
        self,
        account: Account,
        webhook_url: str,
        token_seconds: float = 300.0,
        on_death: Callable[[], None] = lambda: None,
        register: Register | None = None,
    ) -> None:
        self.account = account
        self.register = register or Register()
        self.faults = Faults(FAULTS)
        self.webhooks = Sender(webhook_url, account.webhook_secret, self.faults, account.old_webhook_secret)
        self.dead = False
        self._on_death = on_death
        self.tokens: dict[str, float] = {}
        self.token_seconds = token_seconds
        self.app = Flask(CODE)
        self._add_interface()
        self._add_statement()
        administration.add_till(self.app, self)
        administration.add(self.app, self.faults, self._state)

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        """Serves it in this process for the length of the block, and gives the operator bridge's settings."""
        with serving.serving(self.app) as url:
            yield self.account.settings(url)

    def forget(self) -> None:
        """Begins again with empty books, and with nothing going wrong; it lives again if it was dead."""
        self.register = Register()
        self.faults.clear()
        self.dead = self.webhooks.silent = False

    def die(self) -> None:
        """Fails for good: answers no request and sends no message any more."""
        self.dead = self.webhooks.silent = True
        self._on_death()

    def stock(self, contract: str, number: int) -> None:
        """Puts so many cheques in the books, as if they had been registered."""
        self.register.stock(contract, number)

    def expire_tokens(self) -> None:
        """Makes all tokens invalid."""
        self.tokens.clear()

    def _add_interface(self) -> None:
        app = self.app

        @app.post("/oauth/token")
        def token() -> ResponseReturnValue:
            authorization = request.authorization
            sent = authorization and (authorization.username, authorization.password)
            if sent != (self.account.client_id, self.account.client_secret):
                return jsonify(error="invalid_client"), 401
            made = secrets.token_urlsafe(24)
            self.tokens[made] = time.monotonic() + self.token_seconds
            return jsonify(access_token=made, token_type="Bearer", expires_in=int(self.token_seconds))  # noqa: S106

        @app.post("/v1/operations")
        def operations() -> ResponseReturnValue:
            operations = serving.member(request.get_json(), "operations") or []
            hindered = self._hindered(operations)
            if hindered:
                return hindered
            if self.faults.happens("die"):
                self.register.work_off(operations[: len(operations) // 2])
                self.die()
                return calls.hang_up()
            results = self.register.work_off(operations, "refused-on-demand" if self.faults.happens("refuse") else None)
            return calls.spoil(self.faults, jsonify(results=calls.disturb(self.faults, results)))

        @app.post("/v1/operations/status")
        def status() -> ResponseReturnValue:
            hindered = self._hindered([])
            if hindered:
                return hindered
            return jsonify(results=self.register.status(serving.member(request.get_json(), "references") or []))

    def _add_statement(self) -> None:
        app = self.app

        @app.get("/v1/statement")
        def statement() -> ResponseReturnValue:
            hindered = self._hindered([])
            if hindered:
                return hindered
            query = request.args
            since = datetime.fromisoformat(query["since"]).astimezone(UTC).isoformat() if query.get("since") else ""
            cursor = query.get("cursor", "")
            page = self.register.statement(query["contract"], since, cursor)
            lines = statements.lie(self.faults, page["lines"], of_cheques=cursor.startswith("cheques"))
            return calls.spoil(self.faults, jsonify({**page, "lines": list(lines)}))

        @app.before_request
        def be_dead() -> ResponseReturnValue | None:
            return calls.hang_up() if self.dead else None

    def _hindered(self, operations: list[Line]) -> ResponseReturnValue | None:
        """What is answered before anything is done, where it is not let through."""
        if self.faults.happens("expired_token"):
            self.expire_tokens()
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, 0.0) < time.monotonic():
            return jsonify(error="invalid_token"), 401
        if len(operations) > MAX_OPERATIONS:
            return jsonify(error="too-many-operations", most=MAX_OPERATIONS), 413
        if any(len(operation.get("name", "")) > MAX_NAME for operation in operations):
            return jsonify(error="name-too-long", most=MAX_NAME), 422
        return calls.hinder(self.faults)

    def redeem_at_till(self, structure: str, code: str | None = None, number: str | None = None) -> Line:
        """Somebody presents a cheque at the operator's own till; raises KeyError where it is not known, or Refused."""
        redeemed = self.register.redeem_at_till(structure, code, number)
        self.webhooks.send("redemption.made", redeemed)
        return redeemed

    def pay(self, paid_on: date | None = None) -> list[Line]:
        """Pays all that is redeemed and unpaid."""
        paid = self.register.pay(paid_on or datetime.now(UTC).date())
        for payment in paid:
            self.webhooks.send("payment.made", payment)
        return paid

    def _state(self) -> Line:
        webhooks = {"delivered": self.webhooks.delivered, "waiting": self.webhooks.waiting}
        return {**self.register.state(), "webhooks": webhooks}


def main() -> None:
    """Runs the simulator until it is stopped."""
    parser = argparse.ArgumentParser(description=f"{NAME}, simulated.")
    parser.add_argument("--port", type=int, required=True)
    for name in ("webhook-url", "secret", "client-id", "client-secret"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--old-secret", default="")
    parser.add_argument("--token-seconds", type=float, default=300.0)
    parser.add_argument("--books", type=Path)
    arguments = parser.parse_args()
    account = Account(arguments.client_id, arguments.client_secret, arguments.secret, arguments.old_secret)
    register = KeptRegister(arguments.books) if arguments.books else None
    simulator = Simulator(account, arguments.webhook_url, arguments.token_seconds, lambda: os._exit(1), register)
    serving.serve(simulator.app, arguments.port, NAME)


if __name__ == "__main__":
    main()
