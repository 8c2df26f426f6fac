"""What structures do in a random history, whoever pays them, and what a clerk writes down of it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.operator_bridge.inbound import applying
from services.operator_bridge.interface import Paid
from services.redeemer.cheques import expiring
from shared.values import clock
from tests.journey.desk import Desk
from tests.journey.reckoning import Redemption


class Till(Desk):
    """The same, with tills, statements and payments."""

    def redeem(self, dice: int) -> None:
        """Some cheques are presented, together or one by one: of those presented together one can spoil the others."""
        known = [cheque for cheque in self.books.cheques.values() if cheque.known]
        chosen = self.some(known, dice, 5)
        given_on = self.today - timedelta(days=(0, 0, 12)[dice % 3])
        for presented in [chosen] if dice % 4 == 0 and chosen else [[cheque] for cheque in chosen]:
            able = all(cheque.takes(self.today, given_on) for cheque in presented)
            body = {"codes": [cheque.code for cheque in presented], "given_on": f"{given_on}"}
            structure = self.structures[dice % 2]
            taken = self.do("redeemer", "/v1/redemptions", "structure", body, able, structure)
            for line in taken["redemptions"] if taken else []:
                cheque = self.books.cheques[line["cheque_id"]]
                cheque.judged = "redeemed"
                made = Redemption(line["redemption_id"], cheque, str(structure), self.today, owed=cheque.cents)
                self.books.redemptions[made.id] = made
                self.tell("redeemer", "issuer", "made", (made, self.today))

    def reverse(self, dice: int) -> None:
        """A redemption is taken back, unless it is stated or paid."""
        for made in self.some(list(self.books.redemptions.values()), dice, 2):
            able = made.reversed or not (made.statement or made.paid)
            path = f"/v1/redemptions/{made.id}/reversal"
            self.do("redeemer", path, "structure", {"reason": "Erreur."}, able, UUID(made.structure))
            if able and not made.reversed:
                made.reversed, made.cheque.judged = True, None
                self.tell("redeemer", "issuer", "back", (made, self.today))

    def expire(self, _dice: int) -> None:
        """The redeemer looks for what is over."""
        over = [
            cheque for cheque in self.books.cheques.values()
            if cheque.known and cheque.judged is None and not cheque.barred and cheque.last_day < self.today
        ]  # fmt: skip
        assert expiring.expire(self.world.services["redeemer"].runtime) == (len(over), False)
        for cheque in over:
            cheque.judged = "expired"
        self.tell("redeemer", "issuer", "expired", (over, self.today))

    def correct(self, dice: int) -> None:
        """Finance says what is owed for a redemption in truth."""
        for made in self.some(list(self.books.redemptions.values()), dice, 1):
            body = {"redemption_id": made.id, "owed_cents": (0, 437, 1000)[dice % 3], "reason": "Non donné."}
            if self.do("redeemer", "/v1/corrections", "finance", body, made.statement is not None):
                made.owed = body["owed_cents"]

    def state(self, dice: int) -> None:
        """Last month's statements are issued, of all structures or of one."""
        month = clock.add_months(self.today.replace(day=1), -1)
        body = {"month": f"{month:%Y-%m}"} | ({"structure_id": str(self.structures[0])} if dice % 3 == 0 else {})
        due = {} if month in self.closed_months else self.books.due(month)
        has_later = {s["structure_id"] for s in self._stated() if s["month"] >= body["month"]}
        wanted = set(due) - has_later & set(due)
        wanted = wanted & {body["structure_id"]} if "structure_id" in body else wanted
        confirmed = self._accepted()
        made = self.world.ask("redeemer", "POST", "/v1/statements", "finance", body)["statements"]
        assert {statement["structure_id"] for statement in made} == wanted
        before = sum(statement["number"].startswith(f"{self.today.year}-") for statement in self._stated())
        assert [s["number"] for s in made] == [f"{self.today.year}-{before + i:05d}" for i in range(1, len(made) + 1)]
        for statement in made:
            self._keep(statement, due[statement["structure_id"]], confirmed)
        self._look_for_settled()
        if "structure_id" not in body:
            self.closed_months.add(month)

    def _stated(self) -> list[dict[str, Any]]:
        return [whole["statement"] for whole in self.statements.values()]

    def _accepted(self) -> set[str]:
        query = sa.text("SELECT id FROM redeemer.redemption WHERE state IN ('confirmed', 'paid')")
        with self.owner.connect() as connection:
            return {str(redemption_id) for redemption_id in connection.execute(query).scalars()}

    def _keep(self, statement: dict[str, Any], due: list[tuple[str, int, bool]], confirmed: set[str]) -> None:
        whole = self.world.ask("redeemer", "GET", f"/v1/statements/{statement['statement_id']}", "finance")
        lines = sorted((line["redemption_id"], line["due_cents"], bool(line["corrects"])) for line in whole["lines"])
        assert lines == sorted(due)
        positive = [(self.books.redemptions[name], cents) for name, cents, _ in due if cents > 0]
        assert (statement["due_cents"], statement["confirmed_cents"], statement["paid_cents"]) == (
            sum(cents for _, cents, _ in due),
            sum(cents for made, cents in positive if made.id in confirmed),
            sum(cents for made, cents in positive if made.paid),
        )
        self.statements[statement["statement_id"]] = whole
        self.typed[statement["statement_id"]] = 0
        for name, cents, _ in due:
            made = self.books.redemptions[name]
            made.statement, made.stated = made.statement or statement["statement_id"], made.stated + cents

    def pay_typed(self, dice: int) -> None:
        """The accountant's file pays a statement, in part, whole or too much."""
        for statement in self.some(self._stated(), dice, 1):
            self.number += 1
            amount = (statement["due_cents"], 1500, statement["due_cents"] + 1000)[dice % 3]
            if amount <= 0:
                return
            reference = f"Mandat {self.number}"
            line = f"{statement['number']};{amount // 100},{amount % 100:02d};{self.today};{reference}\n"
            content = "statement;amount;paid_on;reference\n" + line
            report = self.world.ask("redeemer", "POST", "/v1/payments/imports", "finance", content)
            assert report["recorded"] == (statement["due_cents"] > 0)
            if report["recorded"]:
                self.typed[statement["statement_id"]] += amount
                assert self._look_for_settled() == report["settled"]
                self._check_worth(statement["statement_id"])

    def _look_for_settled(self) -> int:
        """Takes from the redeemer which redemptions were settled by what was typed or set off; says how many."""
        query = sa.text("SELECT id, payment_reference, paid_on FROM redeemer.redemption WHERE payment_id IS NOT NULL")
        with self.owner.connect() as connection:
            rows = connection.execute(query).all()
        fresh = [(self.books.redemptions[str(row.id)], row) for row in rows]
        fresh = [(made, row) for made, row in fresh if made.paid is None]
        for made, row in fresh:
            made.paid = ("typed", row.payment_reference)
            self.tell("redeemer", "issuer", "paid", ([made], row.paid_on))
        return len(fresh)

    def _check_worth(self, statement_id: str) -> None:
        """What was settled of a statement is not more than was typed, and than what it takes back."""
        lines = self.statements[statement_id]["lines"]
        back = -sum(line["due_cents"] for line in lines if line["due_cents"] < 0)
        positive = {line["redemption_id"]: line["due_cents"] for line in lines if line["due_cents"] > 0}
        by = {name: self.books.redemptions[name].paid for name in positive}
        paid = sum(cents for name, cents in positive.items() if (found := by[name]) and found[0] == "typed")
        corrected = sum(1 for line in lines if line["corrects"])
        assert corrected or paid <= self.typed[statement_id] + back

    def pay_there(self, dice: int) -> None:
        """The operator says that it paid some redemptions, whatever we made of them in the meantime."""
        chosen = [UUID(made.id) for made in self.some(list(self.books.redemptions.values()), dice, 4)]
        query = sa.text("SELECT reference FROM operator_bridge.redemption WHERE redemption_id = ANY(:ids)")
        with self.owner.connect() as connection:
            found = connection.execute(query, {"ids": chosen}).scalars()
            references = [reference for reference in found if reference]
        if references:
            self.number += 1
            paid_on = self.today - timedelta(days=dice % 5)
            with self.world.services["operator_bridge"].runtime.transaction() as session:
                applying.apply(session, "regie", [Paid(f"VIR-{self.number}", paid_on, tuple(references))])
