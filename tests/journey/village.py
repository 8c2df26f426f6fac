"""A village in which anything happens to cheques, on any day, and a clerk who writes down what should come of it.

`do` is asked of the services over HTTP and must be answered as the clerk expects. News are carried when an act says so:
late, in any order of the roads, or again from the start of a log.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import time_machine

from services.operator_bridge import applying
from services.operator_bridge.interface import Paid
from services.redeemer import expiring
from shared import clock
from shared.config import SERVICES
from shared.messages import READERS
from tests.journey.conftest import PLACE, World
from tests.journey.reckoning import Books, Cheque, Envelope, Redemption, Request

ROADS = [(publisher, reader) for publisher in SERVICES for reader in READERS[publisher]]
PUBLICS = (None, "seniors", "jeunes")
LOT = "hiver"
_HOURS = ((0, 0), (9, 30), (23, 59))
_SECOND = (
    'p2,82854918800021,Asso,Agen,47000,2 rue du Pont,2026-01-05,"Maîtrise des outils numériques du quotidien",ASSO\n'
)


@dataclass
class Village:
    """The world, what is written down of it, and the day."""

    world: World
    owner: sa.Engine
    traveller: time_machine.Traveller
    books: Books = field(default_factory=Books)
    prescribers: dict[UUID, str] = field(default_factory=dict)
    structures: list[UUID] = field(default_factory=list)
    conventions: dict[str, list[tuple[date, int | None]]] = field(default_factory=dict)
    """What each convention granted, since which day; None: as much as its envelopes hold."""
    suspended: bool = False
    agreed: dict[str, Any] | None = None
    statements: dict[str, Any] = field(default_factory=dict)
    """Each statement as it was issued."""
    typed: dict[str, int] = field(default_factory=dict)
    reports: dict[date, Any] = field(default_factory=dict)
    """What was reported at the end of each day on which something happened."""
    closed_months: set[date] = field(default_factory=set)
    heard: dict[str, int] = field(default_factory=dict)
    number: int = 0

    @property
    def today(self) -> date:
        return clock.today()

    def do(self, service: str, path: str, role: str, body: Any, expected: bool, scope: UUID | None = None) -> Any:
        """What is answered, or None where it is refused, each of which must be as expected."""
        answer = self.world.call(service, "POST", path, role, body, scope=scope)
        assert (answer.status_code < 300) == expected, (path, body, answer.status_code, answer.text)
        assert expected or answer.status_code in (404, 409), answer.text
        return answer.get_json() if expected else None

    def some(self, among: Sequence[Any], dice: int, number: int = 3) -> list[Any]:
        """A few of these, the same ones for the same dice."""
        places = sorted({(dice * (7 * i + 1)) % len(among) for i in range(1 + dice % number)}) if among else []
        return [among[place] for place in places]

    def tell(self, publisher: str, reader: str, kind: str, said: Any) -> None:
        """Writes down what one service has still to hear of another."""
        self.books.on_the_way[publisher, reader].append((kind, said))

    # What the département does.

    def settle_in(self) -> None:
        """Conventions, envelopes, a second prescriber, a second structure, a lot."""
        self.prescribers[self.world.prescriber] = "None"
        place = PLACE.strip() + ",typologie\n" + _SECOND
        self.world.ask("issuer", "POST", "/v1/prescribers/imports", "admin", place)
        for item in self.world.ask("issuer", "GET", "/v1/prescribers", "admin")["items"]:
            self.prescribers[UUID(item["prescriber_id"])] = "ASSO" if item["source_id"] == "p2" else "None"
        second = PLACE + "s2,82854918800021,Atelier,Agen,47000,3 rue du Port,2026-01-05,\n"
        self.world.ask("redeemer", "POST", "/v1/structures/imports", "admin", second)
        places = self.world.ask("redeemer", "GET", "/v1/structures", "admin")["items"]
        self.structures = [UUID(item["structure_id"]) for item in places]
        other = next(structure for structure in self.structures if structure != self.world.structure)
        affiliation = {"structure_id": str(other), "contract_id": str(self.world.contract), "starts_on": "2026-01-01"}
        self.world.ask("redeemer", "POST", "/v1/affiliations", "admin", affiliation)
        self.world.ask(
            "issuer", "POST", "/v1/lots", "admin", {"code": LOT, "name": "Hiver", "programme": "pass-numerique"}
        )
        [first] = self.world.ask("issuer", "GET", "/v1/envelopes", "finance")["items"]
        self.conventions[first["convention_id"]] = [(self.today, None)]
        self._envelope(first, ())
        seniors = {"reserved_publics": ["seniors"], "reserved_bp": 3333, "pays_at_most_bp": 6500}
        for reference, terms in (("A", seniors), ("B", {}), ("C", {"target_publics": ["jeunes"]})):
            self._agree(reference, terms)
        for convention, terms in zip(list(self.conventions)[1:], ({"share_bp": 6000}, {"share_bp": 4000}, {}), strict=True):
            self._open(convention, 40_000, terms)

    def _agree(self, reference: str, terms: dict[str, Any]) -> None:
        body = {"funder": "CAF", "reference": reference, "amount_cents": 60_000, "starts_on": "2020-01-01"}
        made = self.world.ask("issuer", "POST", "/v1/conventions", "finance", {**body, "ends_on": "2099-12-31", **terms})
        self.conventions[made["convention_id"]] = [(self.today, 60_000)]

    def _open(self, convention: str, amount: int, terms: dict[str, Any]) -> None:
        body = {"programme": "pass-numerique", "convention_id": convention, "amount_cents": amount, "priority": 1}
        fits = self._fits(convention, amount)
        made = self.do("issuer", "/v1/envelopes", "finance", {**body, **terms}, fits)
        if made:
            found = self.world.ask("issuer", "GET", f"/v1/conventions/{convention}", "finance")
            self._envelope(made, found["reserved_publics"], found["reserved_bp"])

    def _envelope(self, made: dict[str, Any], kept_for: Sequence[str], kept_bp: int = 0) -> None:
        envelope = Envelope(
            made["envelope_id"], made["convention_id"], 0, made["priority"], made["share_bp"], made["target_publics"],
            kept_for, kept_bp,
        )  # fmt: skip
        envelope.set(self.today, made["amount_cents"])
        self.books.envelopes[envelope.id] = envelope

    def _fits(self, convention: str, more: int) -> bool:
        granted = self.conventions[convention][-1][1]
        return granted is None or self.held(convention) + more <= granted

    def held(self, convention: str) -> int:
        """What the envelopes of a convention hold together."""
        return sum(each.amount for each in self.books.envelopes.values() if each.convention == convention)

    def move(self, dice: int) -> None:
        """An envelope is raised or lowered."""
        envelope = self.some(list(self.books.envelopes.values()), dice, 1)[0]
        amount = max(1000, (envelope.amount + 1000 * (dice % 41 - 20), envelope.engaged)[dice % 3 == 0])
        more = amount - envelope.amount
        able = self._fits(envelope.convention, more) if more > 0 else more < 0 and envelope.may_hold(amount)
        body = {"amount_cents": amount, "reason": "Avenant."}
        if self.do("issuer", f"/v1/envelopes/{envelope.id}/movements", "finance", body, able and not envelope.closed):
            envelope.set(self.today, amount)

    def close(self, dice: int) -> None:
        """An envelope is closed, or one is opened."""
        if dice % 3:
            return self._open(self.some(list(self.conventions)[1:], dice, 1)[0], 8000 + dice % 7, {})
        envelope = self.some(list(self.books.envelopes.values())[1:], dice, 1)[0]
        path = f"/v1/envelopes/{envelope.id}/closing"
        if self.do("issuer", path, "finance", {"reason": "Fin."}, not envelope.closed):
            envelope.set(self.today, envelope.engaged, closed=True)
        return None

    def amend(self, dice: int) -> None:
        """A convention is given another amount."""
        convention = self.some(list(self.conventions), dice, 1)[0]
        amount = 30_000 + 1000 * (dice % 50)
        body = {"amount_cents": amount, "reason": "Avenant."}
        path = f"/v1/conventions/{convention}/amendments"
        if self.do("issuer", path, "finance", body, self.held(convention) <= amount):
            self.conventions[convention].append((self.today, amount))

    # What prescribers do.

    def grant(self, dice: int) -> None:
        """An amount is granted, dated back or not, in the lot or not."""
        prescriber, kind = self.some(list(self.prescribers.items()), dice, 1)[0]
        public, lot = PUBLICS[dice % 3], LOT if dice % 5 < 3 else None
        day = self.today - timedelta(days=(0, 0, 20, 75)[dice % 4])
        values = [1000] * (5 + dice % 7)
        open_ = lot is None or not (self.suspended or self.agreed)
        payers = self.books.charge(public, values) if open_ else None
        body = {"programme": "pass-numerique", "amount_cents": sum(values), "reason": "e", "granted_on": f"{day}"}
        body |= ({"target_public": public} if public else {}) | ({"lot": lot} if lot else {})
        made = self.do("issuer", "/v1/grants", "prescriber", body, payers is not None, prescriber)
        if made is None or payers is None:
            return
        assert sorted(cheque["envelope_id"] for cheque in made["cheques"]) == sorted(payers)
        for cheque in made["cheques"]:
            new = Cheque(
                cheque["cheque_id"], cheque["code"], made["grant_id"], self.books.envelopes[cheque["envelope_id"]],
                cheque["value_cents"], public, kind, lot, day, date.fromisoformat(made["valid_until"]),
                date.fromisoformat(made["presentable_until"]),
            )  # fmt: skip
            self._issue(new, day)

    def _issue(self, cheque: Cheque, day: date) -> None:
        self.books.cheques[cheque.id] = cheque
        self.books.book("engaged", cheque, self.today, day)
        self.tell("issuer", "redeemer", "issued", [cheque.id])

    def cancel(self, dice: int) -> None:
        """Some cheques are to be cancelled, or an amount of a grant."""
        chosen = self.some(list(self.books.cheques.values()), dice)
        if not chosen:
            return
        what: dict[str, Any] = {"cheque_ids": [cheque.id for cheque in chosen]}
        in_hand = self.books.in_hand()
        if dice % 2:
            of_grant = [each for each in self.books.cheques.values() if each.grant == chosen[0].grant]
            free = [each for each in of_grant if not each.ending and each.id not in in_hand]
            chosen = sorted(free, key=lambda cheque: cheque.id)[-2:]
            what = {"grant_id": of_grant[0].grant, "amount_cents": 2000}
        refused = {cheque.id for cheque in chosen if cheque.ending or cheque.id in in_hand}
        able = len(chosen) == 2 if dice % 2 else len(refused) < len(chosen)
        made = self.do("issuer", "/v1/cancellations", "admin", {"reason": "Rendus.", **what}, able)
        if made:
            self._ask(made["cancellation_id"], chosen, refused, made["cheques"], fresh=False)

    def replace(self, dice: int) -> None:
        """Some cheques are reported lost."""
        lost = self.some(list(self.books.cheques.values()), dice)
        if not lost:
            return
        in_hand = self.books.in_hand()
        refused = {
            cheque.id for cheque in lost
            if cheque.ending or cheque.id in in_hand or cheque.last_day < self.today or (cheque.lot and self.agreed)
        }  # fmt: skip
        body = {"cheque_ids": [cheque.id for cheque in lost], "cause": "lost", "reason": "Perdus."}
        made = self.do("issuer", "/v1/replacements", "admin", body, len(refused) < len(lost))
        if made:
            self._block([cheque for cheque in lost if cheque.id not in refused])
            self._ask(made["replacement_id"], lost, refused, made["cheques"], fresh=True)

    def _ask(
        self, name: str, chosen: Sequence[Cheque], refused: set[str], lines: Sequence[dict[str, Any]], *, fresh: bool
    ) -> None:
        request = Request(name, fresh, {c.id: "refused" if c.id in refused else "requested" for c in chosen})
        told = {line["cheque_id"]: line["outcome"].replace("pending", "requested") for line in lines}
        assert told == request.outcomes
        self.books.requests[name] = request
        wanted = [cheque.id for cheque in chosen if cheque.id not in refused]
        self.tell("issuer", "redeemer", "asked", (name, wanted))

    def _block(self, chosen: Sequence[Cheque], *, lot: bool = False) -> None:
        fresh = [cheque.id for cheque in chosen if not cheque.blocked]
        for cheque in chosen:
            cheque.suspended = lot and not cheque.blocked
            cheque.blocked = True
        self.tell("issuer", "redeemer", "barred", fresh)

    def _free(self, chosen: Sequence[Cheque]) -> None:
        self.tell("issuer", "redeemer", "freed", [cheque.id for cheque in chosen if cheque.blocked])
        for cheque in chosen:
            cheque.blocked = cheque.suspended = False

    def block(self, dice: int) -> None:
        """Some cheques are blocked, or released."""
        chosen = self.some(list(self.books.cheques.values()), dice)
        if not chosen:
            return
        body = {"cheque_ids": [cheque.id for cheque in chosen], "reason": "En doute."}
        ended = any(cheque.ending for cheque in chosen)
        if dice % 2:
            if self.do("issuer", "/v1/blocks", "admin", body, not ended):
                self._block(chosen)
        elif self.do("issuer", "/v1/unblocks", "admin", body, not (ended or self._held(chosen))):
            self._free(chosen)

    def _held(self, chosen: Sequence[Cheque]) -> bool:
        return self.suspended and any(cheque.lot for cheque in chosen)

    def suspend(self, _dice: int) -> None:
        """The lot is suspended, or resumed."""
        path = f"/v1/lots/{LOT}/{'resumption' if self.suspended else 'suspension'}"
        if self.do("issuer", path, "admin", {"reason": "Vol."}, self.agreed is None):
            of_lot = [cheque for cheque in self.books.cheques.values() if cheque.lot]
            if self.suspended:
                self._free([cheque for cheque in of_lot if cheque.suspended])
            else:
                self._block([cheque for cheque in of_lot if not cheque.ending and not cheque.blocked], lot=True)
            self.suspended = not self.suspended

    def agree(self, _dice: int) -> None:
        """The statement of the lot is agreed, if it is over."""
        shown = self.world.ask("issuer", "GET", f"/v1/lots/{LOT}/statement", "finance")
        in_hand = any(self.books.cheques[cheque_id].lot for cheque_id in self.books.in_hand())
        total = self.books.lot(LOT)
        over = not total["open_number"] and not in_hand and self.agreed is None
        if total["issued_number"]:
            body = {"digest": shown["digest"]}
            self.agreed = self.do("issuer", f"/v1/lots/{LOT}/statement", "finance", body, over) or self.agreed

    # What structures do, and whoever pays them.

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
        assert expiring.expire(self.world.services["redeemer"].runtime) == len(over)
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
                self._settle_typed(statement["statement_id"], report["settled"])

    def _settle_typed(self, statement_id: str, number: int) -> None:
        """Takes from the redeemer which redemptions a payment settled; they must be worth it."""
        query = sa.text("SELECT id, payment_reference, paid_on FROM redeemer.redemption WHERE payment_id IS NOT NULL")
        with self.owner.connect() as connection:
            rows = connection.execute(query).all()
        fresh = [(self.books.redemptions[str(row.id)], row) for row in rows]
        fresh = [(made, row) for made, row in fresh if made.paid is None]
        assert len(fresh) == number
        for made, row in fresh:
            made.paid = ("typed", row.payment_reference)
            self.tell("redeemer", "issuer", "paid", ([made], row.paid_on))
        lines = self.statements[statement_id]["lines"]
        back = -sum(line["due_cents"] for line in lines if line["due_cents"] < 0)
        positive = {line["redemption_id"]: line["due_cents"] for line in lines if line["due_cents"] > 0}
        paid = sum(cents for name, cents in positive.items() if (self.books.redemptions[name].paid or " ")[0] == "typed")
        corrected = sum(1 for line in lines if line["corrects"])
        assert corrected or paid <= self.typed[statement_id] + back

    def pay_there(self, dice: int) -> None:
        """The operator says that it paid some redemptions, whatever we made of them in the meantime."""
        chosen = [made.id for made in self.some(list(self.books.redemptions.values()), dice, 4)]
        query = sa.text("SELECT reference FROM operator_bridge.redemption WHERE redemption_id = ANY(CAST(:ids AS uuid[]))")
        with self.owner.connect() as connection:
            references = [found for found in connection.execute(query, {"ids": chosen}).scalars() if found]
        if references:
            self.number += 1
            paid_on = self.today - timedelta(days=dice % 5)
            with self.world.services["operator_bridge"].runtime.transaction() as session:
                applying.apply(session, "regie", [Paid(f"VIR-{self.number}", paid_on, tuple(references))])

    # How news travel.

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
        fresh = {"ending": None, "blocked": False, "suspended": False, "replaced": False, "known": False}
        new = replace(old, id=shown["cheque_id"], code=shown["code"], judged=None, barred=False, **fresh)
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

    def lines(self, day: date) -> str:
        """The report in full, as a file, as of a day."""
        answer = self.world.call("issuer", "GET", f"/v1/reports/conventions/lines.csv?as_of={day}", "finance")
        assert answer.status_code == 200
        return answer.text
