"""An operator that keeps to the GovStack voucher API, simulated: a real HTTP server, with faults on demand.

    python -m demo.simulators.govstack --port 9003 --key …

It prints a line when it is ready. The five calls answer with the status codes of version 1.0.3 of the API; numbers are
strings in answers and integers in requests. `demo.simulators.administration` has its other routes.
"""

import argparse
import os
import re
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Self

from flask import Flask, Response, jsonify, make_response, request
from flask.typing import ResponseReturnValue

from demo.simulators import administration, calls, serving
from demo.simulators.faults import CALLS, FILES, MESSAGES, STATEMENTS, Faults

CODE = "govstack"
NAME = "GovStack"
GROUP = "PASS-NUMERIQUE"
BLOCK = "SOUCHE"

STATUSES: Mapping[str, tuple[int, str]] = {
    "refuse": (452, "Invalid amount"),
    "group_exhausted": (455, "Voucher group exhausted"),
    "unknown_block": (460, "Gov Stack Building Block does not exist"),
    "no_funds": (462, "Insufficient funds in funding a/c"),
    "cannot_credit": (463, "Cannot credit merchant"),
    "network_timeout": (599, "Network connection timeout error"),
}
"""What it answers on demand, without having done anything."""
WITHOUT: Mapping[str, str] = {
    **dict.fromkeys(("out_of_order", "half_an_answer"), "a call is of one voucher, and has one outcome"),
    **dict.fromkeys(("duplicate_lines", "unknown_lines"), "each voucher is asked for by its number, and answered once"),
    **dict.fromkeys(MESSAGES, "it sends no messages"),
    **dict.fromkeys(FILES, "it exchanges no files"),
}
"""What cannot go wrong with it, and why."""
FAULTS: Mapping[str, str] = {
    **{name: description for name, description in {**CALLS, **STATEMENTS}.items() if name not in WITHOUT},
    "expired_token": "the key is refused, as if it had ended",
    "answer_twice": "the answer comes twice on the connection",
    "missing_outcomes": "a voucher that was used is told as unused",
    **{name: description for name, (_, description) in STATUSES.items() if name != "refuse"},
}
_AMOUNT = re.compile(r"([0]|([1-9][0-9]{0,17}))([.][0-9]{0,3}[0-9])?")

Answer = tuple[int, Mapping[str, Any]]
Work = Callable[[Mapping[str, Any]], Answer]


@dataclass(frozen=True)
class Account:
    """The key that the operator and we share."""

    key: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        return cls(secrets.token_hex(24))

    def settings(self, url: str) -> dict[str, str]:
        """The operator bridge's settings to work with the simulator at an address."""
        return {
            "OPERATOR_GOVSTACK_URL": url,
            "OPERATOR_GOVSTACK_API_KEY": self.key,
            "OPERATOR_GOVSTACK_BUILDING_BLOCK": BLOCK,
            "OPERATOR_GOVSTACK_VOUCHER_GROUP": GROUP,
        }

    def arguments(self, port: int, _bridge: str = "") -> list[str]:
        return ["--port", str(port), "--key", self.key]


@dataclass
class Voucher:
    """A voucher in the operator's books."""

    serial: int
    number: int = field(repr=False)
    amount: str
    expires_at: datetime
    status: str = "Pre-Activated"
    merchant: str | None = None


class Books:
    """The operator's vouchers, and what it answered to each call that it can recognise."""

    def __init__(self) -> None:
        self.vouchers: dict[int, Voucher] = {}
        self.numbers: dict[int, Voucher] = {}
        self.answers: dict[tuple[str, str], Answer] = {}
        self._serials = count(10**15 + 1)

    def preactivate(self, payload: Mapping[str, Any]) -> Answer:
        if not _AMOUNT.fullmatch(str(payload["voucher_amount"])) or float(payload["voucher_amount"]) <= 0:
            return 452, {"message": "Invalid amount"}
        if payload["voucher_currency"] != "EUR":
            return 453, {"message": "Invalid currency"}
        if payload["voucher_group"] != GROUP:
            return 454, {"message": "Invalid voucher group"}
        number = 10**17 + secrets.randbelow(9 * 10**17)
        ends = datetime.now(UTC) + timedelta(days=730)
        voucher = Voucher(next(self._serials), number, payload["voucher_amount"], ends)
        self.vouchers[voucher.serial] = self.numbers[number] = voucher
        return 200, {
            "voucher_number": str(number),
            "voucher_serial_number": str(voucher.serial),
            "expiry_date_time": ends.isoformat(),
        }

    def activate(self, payload: Mapping[str, Any]) -> Answer:
        voucher = self.vouchers.get(payload["voucher_serial_number"])
        if voucher is None or voucher.status not in ("Pre-Activated", "Activated"):
            return 456, {"message": "Invalid voucher serial number"}
        voucher.status = "Activated"
        return 200, {"result_status": "Successfully activated voucher"}

    def redeem(self, payload: Mapping[str, Any]) -> Answer:
        voucher = self.numbers.get(payload["voucher_number"])
        if voucher is None or voucher.status != "Activated":
            return 461, {"message": "Invalid voucher number"}
        if not payload["merchant_bank_details"] or payload["merchant_voucher_group"] != GROUP:
            return 463, {"message": "Cannot credit merchant"}
        voucher.status, voucher.merchant = "Consumed", payload["merchant_bank_details"]
        return 200, {"result_status": "Voucher is successfully redeemed"}

    def status(self, serial: str) -> Answer:
        voucher = self.vouchers.get(int(serial)) if serial.isdigit() else None
        if voucher is None:
            return 456, {"message": "Invalid voucher number"}
        if voucher.status == "Consumed":
            return 458, {"message": "Voucher number already used"}
        if voucher.expires_at < datetime.now(UTC):
            return 459, {"message": "Voucher has expired"}
        return 200, {"voucher_status": voucher.status, "voucher_amount": voucher.amount}

    def cancel(self, payload: Mapping[str, Any]) -> Answer:
        serial = payload["voucherserialnumber"]
        voucher = self.vouchers.get(int(serial)) if str(serial).isdigit() else None
        if voucher is None or voucher.status == "Consumed":
            return 463, {"message": "Invalid voucher"}
        if voucher.status == "Purged":
            return 464, {"message": "Voucher is already cancelled"}
        voucher.status = "Purged"
        return 200, {"message": "Voucher cancelled"}


class Simulator:
    """One simulated operator: its books, its faults, and the application in front of them."""

    def __init__(self, account: Account, _webhook_url: str = "", on_death: Callable[[], None] = lambda: None) -> None:
        self.account = account
        self.dead = False
        self._on_death = on_death
        self.register = Books()
        self.faults = Faults(FAULTS)
        self._lock = threading.Lock()
        self.app = Flask(CODE)
        self._add_interface()
        administration.add(self.app, self.faults, self._state)

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        """Serves it in this process for the length of the block, and gives the operator bridge's settings."""
        with serving.serving(self.app) as url:
            yield self.account.settings(url)

    def forget(self) -> None:
        """Begins again with empty books, and with nothing going wrong; it lives again if it was dead."""
        self.dead = False
        self.register = Books()
        self.faults.clear()

    def redeem_at_till(self, structure: str, code: str | None = None, number: str | None = None) -> None:
        """It has no till of its own that would know the codes in people's hands."""
        raise KeyError(code or number)

    def pay(self, paid_on: object = None) -> list[object]:
        """It pays with each redemption, without a message."""
        return []

    def _add_interface(self) -> None:
        app = self.app
        required = ("Gov_Stack_BB",)

        @app.post("/vouchers/voucher_preactivation")
        def preactivate() -> ResponseReturnValue:
            needed = (*required, "voucher_amount", "voucher_currency", "voucher_group")
            return self._work(self.register.preactivate, needed, "refuse", "group_exhausted")

        @app.patch("/vouchers/voucher_activation")
        def activate() -> ResponseReturnValue:
            return self._work(self.register.activate, (*required, "voucher_serial_number"))

        @app.post("/vouchers/voucher_redemption")
        def redeem() -> ResponseReturnValue:
            needed = (*required, "voucher_number", "merchant_name", "merchant_bank_details", "merchant_voucher_group")
            return self._work(self.register.redeem, (*needed, "override"), "no_funds", "cannot_credit")

        @app.get("/vouchers/voucherstatuscheck/<serial>")
        def status(serial: str) -> ResponseReturnValue:
            return self._hindered() or calls.spoil(self.faults, _response(self._lie(self.register.status(serial))))

        @app.patch("/vouchers/voucherstatuscheck/<serial>")
        def cancel(serial: str) -> ResponseReturnValue:
            return self._work(self.register.cancel, (*required, "voucherserialnumber"))

    def _work(self, work: Work, needed: tuple[str, ...], *refusals: str) -> ResponseReturnValue:
        """Does a call once, however often it comes with the same X-CorrelationID."""
        if hindered := self._hindered():
            return hindered
        payload, reference = request.get_json(silent=True) or {}, request.headers.get("X-CorrelationID", "")
        with self._lock:
            key = (work.__name__, reference)
            if key not in self.register.answers:
                self.register.answers[key] = self._answer(work, payload, needed, refusals)
            answer = self.register.answers[key]
            if answer[0] in (455, 462, 460):  # what passes is not remembered
                del self.register.answers[key]
        if self.faults.happens("die"):
            self.dead = True
            self._on_death()
            return calls.hang_up()
        response = _response(answer)
        return calls.twice(response) if self.faults.happens("answer_twice") else calls.spoil(self.faults, response)

    def _lie(self, answer: Answer) -> Answer:
        if self.faults.happens("missing_lines"):
            return 456, {"message": "Invalid voucher number"}
        if answer[0] == 458 and self.faults.happens("missing_outcomes"):
            return 200, {"voucher_status": "Activated", "voucher_amount": "10.00"}
        if answer[0] == 200 and self.faults.happens("wrong_amounts"):
            return 200, {**answer[1], "voucher_amount": f"{float(answer[1]['voucher_amount']) + 0.01:.2f}"}
        if answer[0] == 200 and self.faults.happens("malformed_statement"):
            return 200, {"voucher_status": answer[1]["voucher_status"]}
        return answer

    def _answer(
        self, work: Work, payload: Mapping[str, Any], needed: tuple[str, ...], refusals: tuple[str, ...]
    ) -> Answer:
        if any(name not in payload for name in needed) or not _integers(payload):
            return 400, {"message": "Invalid request"}
        if payload["Gov_Stack_BB"] != BLOCK or self.faults.happens("unknown_block"):
            return _status("unknown_block")
        for name in refusals:
            if self.faults.happens(name):
                return _status(name)
        return work(payload)

    def _hindered(self) -> ResponseReturnValue | None:
        if self.dead:
            return calls.hang_up()
        if request.headers.get("X-API-Key") != self.account.key or self.faults.happens("expired_token"):
            return jsonify(message="Unauthorized"), 401
        if self.faults.happens("network_timeout"):
            return _response(_status("network_timeout"))
        return calls.hinder(self.faults)

    def _state(self) -> dict[str, Any]:
        return {"vouchers": Counter(voucher.status for voucher in self.register.vouchers.values())}


def _status(name: str) -> Answer:
    code, message = STATUSES[name]
    return code, {"message": message}


def _integers(payload: Mapping[str, Any]) -> bool:
    numbers = [payload[name] for name in ("voucher_number", "voucher_serial_number") if name in payload]
    return all(type(number) is int and abs(number) < 2**63 for number in numbers)


def _response(answer: Answer) -> Response:
    code, body = answer
    return make_response(jsonify(body), code)


def main() -> None:
    """Runs the simulator until it is stopped."""
    parser = argparse.ArgumentParser(description=f"{NAME}, simulated.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    arguments = parser.parse_args()
    serving.serve(Simulator(Account(arguments.key), on_death=lambda: os._exit(1)).app, arguments.port, NAME)


if __name__ == "__main__":
    main()
