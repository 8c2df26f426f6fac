"""The simulated Docaposte's books in a file, for an operator whose process is killed and comes back with all it knew.

Every change is written before it is made, and made again in the same order at the next start.
"""

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from demo.simulators.docaposte_register import Line, Refused, Register


class KeptRegister(Register):
    """Books that survive their process."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._turn = threading.RLock()
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            self._do_again(json.loads(line))
        self._file = path.open("a", encoding="utf-8")

    def work_off(self, operations: list[Mapping[str, Any]], refuse: str | None = None) -> list[Line]:
        """Does operations in their order, or refuses them all for a reason, and gives one result for each."""
        with self._turn:
            self._keep({"operations": operations, "refuse": refuse})
            return super().work_off(operations, refuse)

    def redeem_at_till(self, structure: str, code: str | None, number: str | None) -> Line:
        """Somebody presents a cheque at the operator's own till."""
        with self._turn:
            self._keep({"structure": structure, "code": code, "number": number})
            return super().redeem_at_till(structure, code, number)

    def pay(self, paid_on: date) -> list[Line]:
        """Pays what is redeemed and unpaid."""
        with self._turn:
            self._keep({"paid_on": paid_on.isoformat()})
            return super().pay(paid_on)

    def _keep(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()  # the system has it: a kill of the process does not lose it

    def _do_again(self, entry: Mapping[str, Any]) -> None:
        with suppress(Refused, KeyError):
            if "operations" in entry:
                super().work_off(entry["operations"], entry["refuse"])
            elif "paid_on" in entry:
                super().pay(date.fromisoformat(entry["paid_on"]))
            else:
                super().redeem_at_till(entry["structure"], entry["code"], entry["number"])
