"""Docaposte, the operator since 2024.

Its interface is not public. This adapter follows the contract assumed here, which its simulator keeps to and which has
to be compared with the real one before it is used:

* OAuth2 client credentials at `POST /oauth/token`.
* `POST /v1/operations`: up to 500 operations, worked off in their order, each with a reference of ours. The answer has
  one result per operation: `accepted`, `refused` with a reason, or `duplicate` where the reference was seen before,
  with the `original` outcome. What is not valid (422) or too much (413) is refused whole, and nothing of it is done.
  A cheque is known by our number for it, a structure by ours. Blocking a cheque or suspending a structure stops
  Docaposte's own till; what our register declares is taken all the same. A registered cheque is active: `activate` is
  accepted and changes nothing. One that was cancelled may be registered again, under any contract, and is active then.
* `POST /v1/operations/status`: up to 500 references of ours; one result, as above, for each that was seen before.
* Webhooks signed by Standard Webhooks: `redemption.made` (at its own till) and `payment.made`. None contains a code.
* `GET /v1/statement?contract=…&since=…&cursor=…`: pages of lines, oldest first: `operation` with its outcome,
  `redemption` (at its own till), `payment`, then each `cheque` as it stands. What a call did is there in 30 seconds.

Settings: OPERATOR_DOCAPOSTE_URL, …_CLIENT_ID, …_CLIENT_SECRET, …_WEBHOOK_SECRETS (`whsec_…`, several separated by
commas while they are rotated); optional …_TIMEOUT_SECONDS (20).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from services.operator_bridge.adapter_kit import mapping
from services.operator_bridge.adapter_kit.http import Client, ClientCredentials, verify_standard_webhook
from services.operator_bridge.interface import (
    ChequeStatus,
    Event,
    Line,
    Operator,
    Order,
    Paid,
    Period,
    Receipt,
    Redeemed,
)


class Adapter(Operator):
    name = "Docaposte"
    required = ("URL", "CLIENT_ID", "CLIENT_SECRET", "WEBHOOK_SECRETS")
    optional: ClassVar[Mapping[str, str]] = {"TIMEOUT_SECONDS": "20"}
    supported_orders = frozenset(
        {"register", "activate", "declare", "reverse", "cancel", "block", "unblock", "affiliate", "suspend"}
    )
    own_till = True
    statement_lag = timedelta(seconds=30)
    batch_size = 500
    rate = 10.0

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__(settings)
        address, timeout = settings["URL"].rstrip("/"), float(settings["TIMEOUT_SECONDS"])
        credentials = ClientCredentials(
            f"{address}/oauth/token", settings["CLIENT_ID"], settings["CLIENT_SECRET"], timeout
        )
        self._client = Client(address, timeout, credentials)

    def push(self, orders: Sequence[Order]) -> Iterator[Receipt]:
        operations = [
            mapping.write(order, kind="operation", cheque_id="cheque", structure_id="structure") for order in orders
        ]
        answer = self._client.post("/v1/operations", {"operations": operations})
        results, read = mapping.Lines(), 0
        for receipt in results.read(_receipt, mapping.member(answer, "results", list)):
            read += 1
            yield receipt
        if not read:  # else whatever has no receipt is unknown, and no other order waits for it
            results.check()

    def verify(self, headers: Mapping[str, str], body: bytes) -> str:
        return verify_standard_webhook(self.settings["WEBHOOK_SECRETS"], headers, body)

    def read(self, body: bytes) -> list[Event]:
        message = mapping.document(body)
        read = mapping.reader_of(_MESSAGES, mapping.member(message, "type", str))
        return [read(message.get("data"))]

    def fetch(self, period: Period) -> Iterator[Line]:
        lines = mapping.Lines()
        for start in range(0, len(period.unsettled), self.batch_size):
            references = [order.reference for order in period.unsettled[start : start + self.batch_size]]
            answer = self._client.post("/v1/operations/status", {"references": references})
            yield from lines.read(_receipt, mapping.member(answer, "results", list))
        query = {"contract": period.contract, "since": period.since.isoformat() if period.since else ""}
        for page in self._client.pages("/v1/statement", **query):
            yield from lines.read(_line, mapping.member(page, "lines", list))
        lines.check()


_outcome = mapping.reader(Receipt)
_redeemed = mapping.reader(Redeemed, cheque_id="cheque", structure_id="structure")
_paid = mapping.reader(Paid)
_status = mapping.reader(ChequeStatus, cheque_id="cheque")


def _receipt(line: Any) -> Receipt:
    duplicate = mapping.member(line, "outcome", str) == "duplicate"
    return _outcome({**line, "outcome": line.get("original")} if duplicate else line)


def _line(line: Any) -> Line:
    return mapping.line_of(_LINES, mapping.member(line, "type", str), line)


_MESSAGES: Mapping[str, Callable[[Any], Event]] = {"redemption.made": _redeemed, "payment.made": _paid}
_LINES: Mapping[str, Callable[[Any], Line]] = {
    "operation": _receipt,
    "redemption": _redeemed,
    "payment": _paid,
    "cheque": _status,
}
