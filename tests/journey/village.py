"""A village in which anything happens to cheques, on any day, and a clerk who writes down what should come of it.

News are carried when an act says so: late, in any order of the roads, or again from the start of a log.
"""

from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from shared.eventlog.event_kinds import READERS
from shared.settings.settings import SERVICES
from shared.values import clock
from tests.journey.reckoning import Cheque, Redemption
from tests.journey.till import Till

ROADS = [(publisher, reader) for publisher in SERVICES for reader in READERS[publisher]]
_HOURS = ((0, 0), (9, 30), (23, 59))


class Village(Till):
    """The same, with news that travel and days that pass."""

    def carry(self, dice: int) -> None:
        """One service hears of another, or the operator is told."""
        self.travel(*ROADS[dice % len(ROADS)])
        if dice % 4 == 0:
            self.world.push()

    def again(self, dice: int) -> None:
        """A log is read again from its start; the issuer does not even remember which news it applied."""
        publisher, reader = ROADS[dice % len(ROADS)]
        with self.owner.begin() as connection:
            where = {"publisher": publisher}
            connection.execute(sa.text(f"UPDATE {reader}.cursor SET position = 0 WHERE publisher = :publisher"), where)
            if reader == "issuer":
                connection.execute(sa.text("DELETE FROM issuer.applied_event WHERE publisher = :publisher"), where)
        self.travel(publisher, reader)

    def travel(self, publisher: str, reader: str) -> int:
        """Carries the news of one service to another, and writes down what should come of it."""
        moved = self.world._carry(publisher, reader)
        if publisher == "operator_bridge":
            self._hear_of_payments(reader)
        for kind, said in self.books.take(publisher, reader):
            (self._judge if reader == "redeemer" else self._learn)(kind, said)
        if reader == "issuer":
            self._look_for_new_cheques()
        return moved

    def come_to_rest(self) -> None:
        """Carries everything until nothing moves any more."""
        while sum(self.travel(*road) for road in ROADS):
            self.world.push()

    def _judge(self, kind: str, said: Any) -> None:
        """What the redeemer makes of the issuer's word."""
        if kind == "issued":
            self.books.cheques[said[0]].known = True
        elif kind == "asked":
            name, ids = said
            good = [cheque_id for cheque_id in ids if self.books.cheques[cheque_id].judged is None]
            for cheque_id in good:
                self.books.cheques[cheque_id].judged = "cancelled"
            self.tell("redeemer", "issuer", "cancelled", (name, good, self.today))
            self.tell("redeemer", "issuer", "refused", (name, [each for each in ids if each not in good]))
        else:
            for cheque_id in said:
                self.books.cheques[cheque_id].barred = kind == "barred"

    def _learn(self, kind: str, said: Any) -> None:
        """What the issuer makes of the redeemer's word."""
        if kind in ("made", "back"):
            self._learn_of(said[0], said[1], back=kind == "back")
        elif kind == "expired":
            for cheque in said[0]:
                self.books.end(cheque, "expired", self.today, said[1])
        elif kind == "paid":
            for made in said[0]:
                self._learn_paid(made, said[1])
        else:
            for cheque_id in said[1]:
                self.books.requests[said[0]].outcomes[cheque_id] = kind
                if kind == "cancelled":
                    self.books.end(self.books.cheques[cheque_id], "cancelled", self.today, said[2])

    def _learn_of(self, made: Redemption, day: date, *, back: bool) -> None:
        cheque = made.cheque
        cheque.ending = None if back else "redeemed"
        self.books.book("unused" if back else "used", cheque, self.today, day)
        if back and self.suspended and cheque.lot and not cheque.blocked:
            self._block([cheque], lot=True)
        if not back:
            made.booked = True
            if made.paid_on:
                self.books.book("paid", cheque, self.today, made.paid_on)

    def _learn_paid(self, made: Redemption, day: date) -> None:
        if made.paid_on is None:
            made.paid_on = day
            if made.booked:
                self.books.book("paid", made.cheque, self.today, day)

    def _hear_of_payments(self, reader: str) -> None:
        query = sa.text(
            "SELECT sequence, body FROM operator_bridge.event WHERE kind = 'redemptions.paid' AND sequence > :after"
            " ORDER BY sequence"
        )
        with self.owner.connect() as connection:
            rows = connection.execute(query, {"after": self.heard.get(reader, 0)}).all()
        for sequence, body in rows:
            self.heard[reader] = sequence
            for made in (self.books.redemptions[name] for name in body["redemption_ids"]):
                if reader == "issuer":
                    self._learn_paid(made, date.fromisoformat(body["paid_on"]))
                elif reader == "redeemer" and made.paid is None:
                    made.paid = ("operator", body["payment_reference"])
                elif reader == "redeemer" and made.paid and made.paid[1] != body["payment_reference"]:
                    made.again.add(body["payment_reference"])

    def _look_for_new_cheques(self) -> None:
        """The new cheques that there should be by now are there, and no others."""
        for request in (each for each in self.books.requests.values() if each.fresh):
            shown = self.world.ask("issuer", "GET", f"/v1/replacements/{request.id}", "admin")
            for line in shown["cheques"]:
                old, outcome = self.books.cheques[line["cheque_id"]], request.outcomes[line["cheque_id"]]
                expected = {"requested": "pending", "cancelled": "replaced"}.get(outcome, outcome)
                ended = [entry for entry in self.books.entries if entry.cheque is old and entry.kind == "cancelled"]
                if expected == "replaced" and old.last_day < ended[0].occurred_on:
                    expected = "refused"
                assert line["outcome"] == expected, line
                if expected == "replaced" and not old.replaced:
                    old.replaced = True
                    self._replace(old, line["new_cheque"], ended[0].occurred_on)

    def _replace(self, old: Cheque, shown: dict[str, Any], day: date) -> None:
        new = Cheque(
            shown["cheque_id"], shown["code"], old.grant, old.envelope, old.cents, old.public, old.kind, old.lot,
            old.granted_on, old.valid_until, old.last_day,
        )  # fmt: skip
        assert (shown["value_cents"], shown["envelope_id"]) == (old.cents, old.envelope.id)
        old.envelope.take(old.public, old.cents)
        self._issue(new, day)
        if self.suspended and new.lot:
            self._block([new], lot=True)

    # How time passes.

    def sleep(self, dice: int) -> None:
        """What is reported today is kept, and it is another day: the next, some days on, or the next month."""
        report = self.world.ask("issuer", "GET", "/v1/reports/conventions", "finance")
        self.reports[self.today] = (report, self.lines(self.today))
        today = self.today
        later = (today + timedelta(days=1), today + timedelta(days=1 + dice % 17), clock.add_months(today, 1))[dice % 3]
        hour, minute = _HOURS[dice % 4 % 3]
        self.traveller.move_to(datetime(later.year, later.month, later.day, hour, minute, tzinfo=clock.PARIS))

    def end_the_month(self, dice: int) -> None:
        """It is the next month, and the statements of this one are issued."""
        self.sleep(2)
        self.state(dice)

    def lines(self, day: date) -> str:
        """The report in full, as a file, as of a day."""
        answer = self.world.call("issuer", "GET", f"/v1/reports/conventions/lines.csv?as_of={day}", "finance")
        assert answer.status_code == 200
        return answer.text
