"""A till whose redemptions lie in past months, with its statements and payments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from werkzeug.test import TestResponse

from shared.values import clock
from tests.redeemer.conftest import Till

THIS_MONTH = clock.today().replace(day=1)
LAST_MONTH, MONTH_BEFORE = clock.add_months(THIS_MONTH, -1), clock.add_months(THIS_MONTH, -2)


def noon(day: date) -> datetime:
    """Noon of a day in Paris."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=clock.PARIS)


@dataclass
class Books:
    """A redeemer, and what its accountants do with it."""

    till: Till

    def spend(self, number: int = 1, at: datetime | None = None, structure: UUID | None = None) -> list[UUID]:
        """Redemptions of 10 € each, presented at an instant: the middle of last month if none is given."""
        cheques = self.till.issue(number)
        answer = self.till.present([cheque.code for cheque in cheques], structure=structure)
        ids = [UUID(one["redemption_id"]) for one in answer.get_json()["redemptions"]]
        self.write(
            "UPDATE redemption SET redeemed_at = :at, given_on = :day WHERE id = ANY(:ids)",
            at=at or noon(LAST_MONTH + timedelta(days=14)), day=(at or noon(LAST_MONTH)).date(), ids=ids,
        )  # fmt: skip
        return ids

    def issue(self, month: date = LAST_MONTH, **said: Any) -> list[dict[str, Any]]:
        """Issues the statements of a month."""
        answer = self.till.post("/v1/statements", "finance", {"month": f"{month:%Y-%m}", **said})
        assert answer.status_code == 200, answer.get_json()
        made: list[dict[str, Any]] = answer.get_json()["statements"]
        return made

    def whole(self, statement: dict[str, Any]) -> dict[str, Any]:
        """A statement with its lines, and as it stands now."""
        found: dict[str, Any] = self.till.get(f"/v1/statements/{statement['statement_id']}", "finance").get_json()
        return found

    def now(self, statement: dict[str, Any]) -> tuple[int, int, int]:
        """What is confirmed, paid and open of a statement now, in cents."""
        now = self.whole(statement)["now"]
        return now["confirmed_cents"], now["paid_cents"], now["open_cents"]

    def correct(self, redemption: UUID, owed_cents: int, reason: str = "cours non donné") -> TestResponse:
        """Says what is owed for a redemption in truth."""
        body = {"redemption_id": str(redemption), "owed_cents": owed_cents, "reason": reason}
        return self.till.post("/v1/corrections", "finance", body)

    def refuse(self, redemption: UUID, reason: str = "hors délai") -> None:
        """The operator refuses a redemption."""
        told = [{"redemption_id": redemption, "reason": reason}]
        self.till.tell("redemptions.refused", {"contract_id": self.till.contract, "redemptions": told})

    def confirm(self, redemptions: Sequence[UUID]) -> None:
        """The operator accepts redemptions."""
        body = {"contract_id": self.till.contract, "redemption_ids": redemptions}
        self.till.tell("redemptions.confirmed", body)

    def operator_pays(self, redemptions: Sequence[UUID], reference: str = "OP-1") -> None:
        """The operator says that it paid redemptions."""
        said = {"payment_reference": reference, "paid_on": clock.today(), "redemption_ids": redemptions}
        self.till.tell("redemptions.paid", {"contract_id": self.till.contract, **said})

    def pay(self, *lines: str, heads: str = "statement;amount;paid_on;reference;siret", **query: str) -> TestResponse:
        """Takes a file of payments in."""
        content = "\r\n".join((heads, *lines)).encode()
        path = "/v1/payments/imports?" + "&".join(f"{name}={value}" for name, value in query.items())
        return self.till.post(path, "finance", content)

    def paid(self, statement: dict[str, Any], amount: str, reference: str = "M1") -> dict[str, Any]:
        """Takes one payment in and gives the report of its line."""
        answer = self.pay(f"{statement['number']};{amount};{clock.today()};{reference};")
        assert answer.status_code == 200, answer.get_json()
        [line] = answer.get_json()["lines"]
        return dict(line)

    def states(self) -> list[str]:
        """How the redemptions stand, in the order in which they were presented."""
        return [row.state for row in self.till.rows("SELECT state FROM redemption ORDER BY redeemed_at, id")]

    def write(self, statement: str, **values: Any) -> None:
        """Changes rows behind the service's back."""
        with self.till.redeemer.runtime.engine.begin() as connection:
            connection.execute(sa.text(statement), values)
