"""What every simulator answers beside its operator's interface, without a key: for whoever plays with it, or watches.

* `POST /till/redemptions` {code, structure}: somebody presents a cheque at the operator's own till → 201, 404 or 409;
* `POST /admin/payments` {paid_on?}: pays all that is redeemed and unpaid;
* `GET /admin/state`: what it holds; `POST /admin/faults` {name, times?, seconds?}, `DELETE /admin/faults`;
* `GET /readyz`.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Protocol

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from demo.simulators import serving
from demo.simulators.docaposte_register import Line, Refused
from demo.simulators.faults import Faults


class Till(Protocol):
    """A simulator of an operator with a till of its own, which pays."""

    def redeem_at_till(self, structure: str, code: str | None = None, number: str | None = None) -> Line: ...
    def pay(self, paid_on: date | None = None) -> list[Line]: ...


def add(app: Flask, faults: Faults, state: Callable[[], Mapping[str, Any]]) -> None:
    """Answers for what every operator has."""

    @app.get("/admin/state")
    def show_state() -> ResponseReturnValue:
        return jsonify(dict(state()))

    @app.post("/admin/faults")
    def order_fault() -> ResponseReturnValue:
        values = request.get_json()
        try:
            faults.order(values["name"], int(values.get("times", 1)), float(values.get("seconds", 0)))
        except KeyError:
            return jsonify(error="unknown-fault", faults=faults.names), 422
        return "", 204

    @app.delete("/admin/faults")
    def clear_faults() -> ResponseReturnValue:
        faults.clear()
        return "", 204

    @app.get("/readyz")
    def ready() -> ResponseReturnValue:
        return jsonify(status="ok")


def add_till(app: Flask, operator: Till) -> None:
    """Answers for an operator with a till of its own."""

    @app.post("/till/redemptions")
    def redeem() -> ResponseReturnValue:
        values = request.get_json()
        code, number = serving.member(values, "code"), serving.member(values, "cheque")
        try:
            redeemed = operator.redeem_at_till(str(serving.member(values, "structure")), code, number)
        except KeyError:
            return jsonify(error="unknown-cheque"), 404
        except Refused as refusal:
            return jsonify(error=str(refusal)), 409
        return jsonify(redeemed), 201

    @app.post("/admin/payments")
    def pay() -> ResponseReturnValue:
        paid_on = serving.member(request.get_json(silent=True), "paid_on")
        paid = operator.pay(date.fromisoformat(paid_on) if paid_on else None)
        return jsonify(payments=len(paid), redemptions=sum(len(payment["redemptions"]) for payment in paid))
