"""What the département and its prescribers do in a random history, and what a clerk writes down of it.

`do` asks the services over HTTP, and the answer must be the one that the clerk expects.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import time_machine

from shared.values import clock
from tests.journey.conftest import PLACE, World
from tests.journey.reckoning import Books, Cheque, Envelope, Request

PUBLICS = (None, "seniors", "jeunes")
LOT = "hiver"
_SECOND = (
    'p2,82854918800021,Asso,Agen,47000,2 rue du Pont,2026-01-05,"Maîtrise des outils numériques du quotidien",ASSO\n'
)


@dataclass
class Desk:
    """The world, what is written down of it, and what the département and its prescribers do."""

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
        shares: tuple[dict[str, Any], ...] = ({"share_bp": 6000}, {"share_bp": 4000}, {})
        for convention, terms in zip(list(self.conventions)[1:], shares, strict=True):
            self._open(convention, 40_000, terms)

    def _agree(self, reference: str, terms: dict[str, Any]) -> None:
        period = {"starts_on": "2020-01-01", "ends_on": "2099-12-31"}
        body = {"funder": "CAF", "reference": reference, "amount_cents": 60_000, **period, **terms}
        made = self.world.ask("issuer", "POST", "/v1/conventions", "finance", body)
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
        return self.suspended and self.agreed is None and any(cheque.lot for cheque in chosen)

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
