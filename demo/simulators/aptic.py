"""APTIC, simulated: a real folder that keeps to the contract written in its adapter, with faults on demand.

    python -m demo.simulators.aptic --port 9002 --folder /srv/aptic

It prints a line when it is ready, works off what lies in `depot/` every `--seconds`, and writes a statement every
`--statement-seconds`. What it answers over HTTP, for whoever watches or plays with it, is in
`demo.simulators.administration`; beside that, `POST /admin/statements` writes the statement now. The books are in
memory.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self

from flask import Flask
from flask.typing import ResponseReturnValue

from demo.simulators import administration, calls, serving
from demo.simulators.aptic_folder import ACKNOWLEDGEMENT, STATEMENT, Folder, Line, Share
from demo.simulators.docaposte_register import Cheque, Refused, Register
from demo.simulators.faults import FILES, MESSAGES, STATEMENTS

CODE = "aptic"
NAME = "APTIC"
WITHOUT: Mapping[str, str] = {
    "too_many": "a folder takes as many files as it is given",
    "cut": "a file has no connection; one that ends in the middle is `error`",
    "expired_token": "whoever mounts the share has its key; a share that is not there is `unavailable`",
    "missing_outcomes": "outcomes are acknowledged: `time_out_after_doing` leaves out all, `half_an_answer` half",
    **dict.fromkeys(MESSAGES, "it sends no messages"),
}
"""What cannot go wrong with it, and why."""
FAULTS: Mapping[str, str] = {
    **{name: description for name, description in {**STATEMENTS, **FILES}.items() if name not in WITHOUT},
    "slow": "a file is worked off the next time",
    "unavailable": "the share is away for `seconds`",
    "refuse": "every order of a file is refused",
    "time_out_after_doing": "a file is worked off and never acknowledged",
    "malformed_body": "a file makes no sense until the next time",
    "malformed_statement": "a statement has an amount that makes no sense until the next time",
    "error": "a file is left half-written until the next time",
    "answer_twice": "each acknowledgement is in the file twice",
    "out_of_order": "the acknowledgements are in the reverse order",
    "half_an_answer": "every other acknowledgement is missing",
    "die": "half of the orders of a file are done; then the share is away for good",
    "missing_events": "what happened at its till and what it paid is left out of a statement, and is on the next",
}
_OUTCOMES = {"accepted": "accepte", "refused": "refuse"}
_STATUSES = {"registered": "actif", "blocked": "bloque", "cancelled": "annule", "redeemed": "rembourse"}


@dataclass(frozen=True)
class Account:
    """The folder that the operator and we share."""

    folder: Path

    @classmethod
    def generate(cls) -> Self:
        """A fresh folder."""
        return cls(Path(tempfile.mkdtemp(prefix="souche-share-")))

    def settings(self, _url: str = "") -> dict[str, str]:
        """The operator bridge's settings to work with the simulator."""
        return {"OPERATOR_APTIC_FOLDER": str(self.folder)}

    def arguments(self, port: int, _bridge: str = "") -> list[str]:
        """The command line of the simulator."""
        return ["--port", str(port), "--folder", str(self.folder)]


class Books(Register):
    """The operator's books, in which a cheque is of no use before the payment order for it is named."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.active: dict[str, str] = {}
        """The payment order by the cheque's number."""
        self._work = {**self._work, "activate": self._activate, "declare": self._declare_active}

    def _activate(self, payload: Mapping[str, Any]) -> None:
        cheque = self._find(payload)
        if not payload.get("payment_order"):
            raise Refused("mandat-absent")
        self.active.setdefault(cheque.number, payload["payment_order"])
        cheque.changed_at = datetime.now(UTC).isoformat()

    def _take_again(self, cheque: Cheque, contract: str) -> None:
        """One that comes back has to be paid for again."""
        if cheque.cancelled and not cheque.redemption:
            self.active.pop(cheque.number, None)
        super()._take_again(cheque, contract)

    def _declare_active(self, payload: Mapping[str, Any]) -> None:
        if self._find(payload).number not in self.active:
            raise Refused("inactif")
        self._declare(payload)

    def redeem_at_till(self, structure: str, code: str | None, number: str | None) -> Line:
        if (self.numbers.get(code.replace("-", "")) if code else number) not in self.active:
            raise Refused("inactif")
        return super().redeem_at_till(structure, code, number)

    def lines(self, since: str) -> Iterator[Line]:
        """What happened at the till and was paid from an instant on, then every active cheque."""
        for contract in sorted({cheque.contract for cheque in self.cheques.values()}):
            cursor, since_now = "", since
            while cursor is not None:
                page = self.statement(contract, since_now, cursor)
                for line in page["lines"]:
                    yield from _written(contract, line, self.active)
                cursor = page["next"]
                since_now = "" if str(cursor).startswith("cheques") else since


class Simulator:
    """One simulated operator: its books, its folder, its faults, and a small application to play with it."""

    def __init__(self, account: Account, _webhook_url: str = "", on_death: Callable[[], None] = lambda: None) -> None:
        self.account = account
        self._on_death = on_death
        self.register = Books()
        self.faults = Share(tuple(FAULTS), account.folder / "depot")
        self.folder = Folder(account.folder, self.faults)
        self.folder.make()
        self._stated_at = ""
        self._lock = threading.Lock()
        self.app = Flask(CODE)
        administration.add_till(self.app, self)
        administration.add(self.app, self.faults, self._state)

        @self.app.post("/admin/statements")
        def state_now() -> ResponseReturnValue:
            self.state_all()
            return "", 204

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        """Gives the operator bridge's settings; nothing is worked off but by `work_off`."""
        yield self.account.settings()

    def forget(self) -> None:
        """Begins again with empty books and folders, and with nothing going wrong; it lives again if it was dead."""
        self.faults.clear()
        self.folder.come_back()
        self.register = Books()
        self._stated_at = ""
        self.folder.empty()

    def work_off(self) -> None:
        """Does what lies in the folder, and acknowledges it."""
        with self._lock:
            self.folder.finish()
            if self.faults.happens("slow"):
                return
            for orders in self.folder.take():
                if self.faults.happens("die"):
                    self.register.work_off(list(orders[: len(orders) // 2]))
                    self.die()
                    return
                reason = "refuse-sur-demande" if self.faults.happens("refuse") else None
                done = calls.disturb(self.faults, self.register.work_off(list(orders), reason))
                contracts = {order["reference"]: order["contract"] for order in orders}
                if not self.faults.happens("time_out_after_doing"):
                    self.folder.give("ACC", ACKNOWLEDGEMENT, [_acknowledged(order, contracts) for order in done])

    def die(self) -> None:
        """Is gone for good, and its share with it."""
        self.folder.go()
        self._on_death()

    def state_all(self) -> None:
        """Writes the statement of what happened since the last, and of how each cheque stands."""
        with self._lock:
            if self.folder.gone:
                return
            self.folder.finish()
            if self.faults.happens("old_statement") and self.folder.give_again():
                return
            lines, now = self.register.lines(self._stated_at), datetime.now(UTC).isoformat()
            if self.faults.happens("missing_events"):
                lines = (line for line in lines if line["type"] == "cheque")
            else:
                self._stated_at = now
            self.folder.give("REL", STATEMENT, list(self._lies(lines)))

    def stock(self, contract: str, number: int) -> None:
        """Puts so many active cheques in the books, as if they had been registered."""
        self.register.stock(contract, number)
        self.register.active.update(dict.fromkeys(self.register.cheques, "M-2026-1"))

    def redeem_at_till(self, structure: str, code: str | None = None, number: str | None = None) -> Line:
        """Somebody presents a cheque at the operator's own till; raises KeyError where it is not known, or Refused."""
        return self.register.redeem_at_till(structure, code, number)

    def pay(self, paid_on: date | None = None) -> list[Line]:
        """Pays all that is redeemed and unpaid."""
        return self.register.pay(paid_on or datetime.now(UTC).date())

    def run(self, seconds: float, statement_seconds: float) -> None:
        """Works for ever."""
        stated = time.monotonic()
        while True:
            if self.folder.path.joinpath("depot").exists():
                self.work_off()
            if time.monotonic() - stated > statement_seconds:
                self.state_all()
                stated = time.monotonic()
            time.sleep(seconds)

    def _lies(self, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            if line["type"] != "cheque":
                yield line
            elif not self.faults.happens("missing_lines"):
                yield line | ({"montant": line["montant"] + 1} if self.faults.happens("wrong_amounts") else {})
                if self.faults.happens("duplicate_lines"):
                    yield line
                if self.faults.happens("unknown_lines"):
                    yield line | {"cheque": "00000000-0000-4000-8000-000000000000"}

    def _state(self) -> Line:
        return {**self.register.state(), "active": len(self.register.active)}


def _acknowledged(result: Mapping[str, Any], contracts: Mapping[str, str]) -> Line:
    outcome = result["original"] if result["outcome"] == "duplicate" else result["outcome"]
    return {"contrat": contracts[result["reference"]], "reference": result["reference"],
            "resultat": _OUTCOMES[outcome], "motif": result["reason"]}  # fmt: skip


def _written(contract: str, line: Line, active: Mapping[str, str]) -> Iterator[Line]:
    kind = line["type"]
    if kind == "redemption":
        named = {name: line[name] for name in ("reference", "cheque", "structure")}
        body = {"type": "remboursement", "contrat": contract, "montant": line["amount_cents"]}
        yield body | named | {"date": line["redeemed_at"]}
    elif kind == "payment":
        for redemption in line["redemptions"]:
            yield {"type": "versement", "contrat": contract, "versement": line["payment_reference"],
                   "date": line["paid_on"], "remboursement": redemption}  # fmt: skip
    elif kind == "cheque" and line["cheque"] in active:
        yield {"type": "cheque", "contrat": contract, "cheque": line["cheque"], "statut": _STATUSES[line["status"]],
               "montant": line["value_cents"], "rembourse": line["redeemed_cents"]}  # fmt: skip


def main() -> None:
    """Runs the simulator until it is stopped."""
    parser = argparse.ArgumentParser(description=f"{NAME}, simulated.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--statement-seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    simulator = Simulator(Account(arguments.folder), on_death=lambda: os._exit(1))
    threading.Thread(target=simulator.run, args=(arguments.seconds, arguments.statement_seconds), daemon=True).start()
    serving.serve(simulator.app, arguments.port, NAME)


if __name__ == "__main__":
    main()
