"""An operator that keeps to the voucher API of the GovStack Payments building block, version 1.0.3.

https://github.com/GovStackWorkingGroup/bb-payments (`api/`, "Payment BB Voucher Management APIs for external BB").

A cheque becomes a voucher, pre-activated and activated at once. The operator supplies its serial number and its secret
voucher number; we keep both (`<serial>/<voucher>`), and the code in the person's hand stays ours. Numbers are strings
when given and integers when asked for: one that an int64 does not carry unchanged is of no use.

What the API leaves open is assumed, and has to be agreed with whoever provides it:
* X-CorrelationID, our order's reference, makes a call recognisable: the same again is answered as the first time.
* A merchant is known by our id of the structure, sent as its name and as its bank details: the operator holds these.
* There is no call to take a redemption back, to block, or for merchants; no message and no statement. What a voucher
  is, is asked one by one, a used one (458) being worth what we say. What uses or purges it can only be an order of
  ours, as nobody else has its number; a registration that got no answer made at most a voucher that nobody can use.
* Of its status codes some refuse an order, some concern all and have them wait (both below), 464 is success.
Settings: OPERATOR_GOVSTACK_URL, …_API_KEY, …_BUILDING_BLOCK, …_VOUCHER_GROUP; optional …_TIMEOUT_SECONDS (10).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from services.operator_bridge.adapter_kit import mapping, parallel_calls
from services.operator_bridge.adapter_kit.http import Client
from services.operator_bridge.interface import (
    ChequeStatus,
    Line,
    NumberedCheque,
    Operator,
    OperatorRefused,
    Order,
    Period,
    Receipt,
    Unreadable,
)
from shared.values.money import decimal

_REFUSED = {
    452: "invalid-amount", 456: "invalid-serial-number", 458: "already-used", 459: "expired",
    461: "invalid-voucher-number", 463: "voucher-or-merchant-not-valid",
}  # fmt: skip
_NOT_NOW = {
    453: "currency not taken", 454: "voucher group unknown", 455: "voucher group exhausted",
    460: "building block unknown", 462: "funding account empty",
}  # fmt: skip
_STATUSES: Mapping[str, Any] = {"Activated": "registered", "Active": "registered", "Suspended": "blocked",
                                "Blocked": "blocked", "Purged": "cancelled"}  # fmt: skip
_ENDED: Mapping[int, Any] = {458: "redeemed", 459: "cancelled"}
_MAKES = {"register": "registered", "declare": "redeemed", "cancel": "cancelled"}


class Adapter(Operator):
    name = "GovStack"
    required = ("URL", "API_KEY", "BUILDING_BLOCK", "VOUCHER_GROUP")
    optional: ClassVar[Mapping[str, str]] = {"TIMEOUT_SECONDS": "10"}
    supported_orders = frozenset({"register", "declare", "cancel"})
    needs_codes = False
    supplies_codes = True
    has_statement = False
    by_status = True
    statement_lag = timedelta(seconds=30)
    batch_size = 100
    rate = 2.0  # of batches; that is up to 400 calls a second, eight at a time

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__(settings)
        self._client = Client(settings["URL"], float(settings["TIMEOUT_SECONDS"]))
        self._headers = {"X-API-Key": settings["API_KEY"]}

    def push(self, orders: Sequence[Order]) -> Iterator[Receipt]:
        return parallel_calls.receipts(lambda order: _WORK[order.kind](self, order), orders)

    def fetch(self, period: Period) -> Iterator[Line]:
        yield from filter(None, parallel_calls.answers(self._outcome, period.unsettled))
        yield from filter(None, parallel_calls.answers(self._status, period.cheques))

    def _outcome(self, order: Order) -> Receipt | None:
        if not (order.cheque_id and order.number):
            return None
        cheque = self._status(NumberedCheque(order.cheque_id, order.number, order.amount_cents))
        return Receipt(order.reference, "accepted") if cheque and cheque.status == _MAKES[order.kind] else None

    def _status(self, cheque: NumberedCheque) -> ChequeStatus | None:
        path = f"/vouchers/voucherstatuscheck/{cheque.number.partition('/')[0]}"
        status, answer = self._client.ask("GET", path, None, self._headers, empty=_REFUSED)
        if status in _ENDED:
            spent_cents = cheque.value_cents if status == 458 else 0
            return ChequeStatus(cheque.cheque_id, _ENDED[status], cheque.value_cents, spent_cents)
        found = _STATUSES.get(mapping.member(answer, "voucher_status", str)) if status == 200 else None
        amount = mapping.member(answer, "voucher_amount", str) if found else ""
        return ChequeStatus(cheque.cheque_id, found, mapping.cents(amount)) if found else None

    def _register(self, order: Order) -> str:
        group, amount = self.settings["VOUCHER_GROUP"], decimal(order.amount_cents)
        wanted = {"voucher_amount": amount, "voucher_currency": "EUR", "voucher_group": group}
        voucher = self._call(order, "POST", "voucher_preactivation", wanted)
        serial, number = (mapping.member(voucher, f"voucher_{name}", str) for name in ("serial_number", "number"))
        _integer(number)
        self._call(order, "PATCH", "voucher_activation", {"voucher_serial_number": _integer(serial)})
        return f"{serial}/{number}"

    def _redeem(self, order: Order) -> None:
        merchant = dict.fromkeys(("merchant_name", "merchant_bank_details"), str(order.structure_id))
        merchant["merchant_voucher_group"], number = self.settings["VOUCHER_GROUP"], _integer(_numbers(order)[1])
        self._call(order, "POST", "voucher_redemption", {**merchant, "override": False, "voucher_number": number})

    def _cancel(self, order: Order) -> None:
        serial, _ = _numbers(order)
        self._call(order, "PATCH", f"voucherstatuscheck/{serial}", {"voucherserialnumber": serial})

    def _call(self, order: Order, method: str, what: str, body: Mapping[str, Any]) -> Any:
        payload, path = {**body, "Gov_Stack_BB": self.settings["BUILDING_BLOCK"]}, f"/vouchers/{what}"
        headers = self._headers | {"X-CorrelationID": order.reference}
        return self._client.ask(method, path, payload, headers, unavailable=_NOT_NOW, refused=_REFUSED, empty=(464,))[1]


_WORK: Mapping[str, Callable[[Adapter, Order], str | None]]
_WORK = {"register": Adapter._register, "declare": Adapter._redeem, "cancel": Adapter._cancel}


def _numbers(order: Order) -> list[str]:
    if not order.number:
        raise OperatorRefused("no-number")
    return order.number.split("/")


def _integer(number: str) -> int:
    if not (number.isascii() and number.isdigit() and number == str(int(number[:20])) and int(number) < 2**63):
        raise Unreadable("voucher number: expected digits that an int64 carries unchanged.")
    return int(number)
