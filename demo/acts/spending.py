"""The year of the structures: workshops paid with cheques, and what goes wrong at a till."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from demo.acts.calls import Identity, Unexpected
from demo.acts.year import Bar, Cheque, MadeGrant, Visit, Year
from shared.values import cheque_code, clock

CREATED, REFUSED = 201, 409
TWICE_AT_OPERATOR = 20
MOST_AT_ONCE = 8  # cheques of one visit
CHECKED = 0.15  # share of the visits at which the cheques are checked first
REVERSAL = "Atelier annulé : la personne ne s'est pas présentée."


@dataclass(frozen=True)
class Ends:
    """Which cheques will be spent where."""

    visits: list[Visit]
    at_operator: list[tuple[Cheque, Identity]]
    kept: list[Cheque]
    """Valid and not to be spent."""

    def keep_back(self, cheques: int) -> list[Visit]:
        """The last visits, with about so many cheques, which are to be made later."""
        held: list[Visit] = []
        while self.visits and cheques > 0:
            held.append(self.visits.pop())
            cheques -= len(held[-1].cheques)
        return held


def plan(year: Year) -> Ends:
    """Shares the cheques that can still be spent among our tills, the operator's till, and people's drawers."""
    chance, today = year.chance("ends"), clock.today()
    alive = [grant for grant in year.grants if grant.presentable_until >= today]
    chance.shuffle(alive)
    issued = year.counts["cheques"]
    visits = list(_visits(year, chance, alive, year.world.share("at_our_tills", issued)))
    spent = {cheque.cheque_id for visit in visits for cheque in visit.cheques}
    left = [cheque for grant in alive if grant.valid_until >= today for cheque in grant.cheques]
    kept = [cheque for cheque in left if cheque.cheque_id not in spent]
    spent_there = year.world.share("at_the_operators_till", issued)
    at_operator = [(cheque, chance.choice(year.structures)) for cheque in kept[:spent_there]]
    return Ends(visits, at_operator, kept[spent_there:])


def _visits(year: Year, chance: random.Random, grants: Sequence[MadeGrant], wanted: int) -> Iterator[Visit]:
    """Visits that spend `wanted` cheques in all; most people come more than once, some keep a cheque."""
    for grant in grants:
        hand = list(grant.cheques[: max(1, len(grant.cheques) - chance.choice((0, 0, 0, 1, 2)))])
        while hand and wanted:
            number = min(chance.randint(1, MOST_AT_ONCE), len(hand), wanted)
            yield Visit(chance.choice(year.structures), hand[:number], _workshop(chance, grant))
            hand, wanted = hand[number:], wanted - number


def _workshop(chance: random.Random, grant: MadeGrant) -> date:
    """A day on which the cheques were valid, not later than today."""
    first, last = grant.planned.granted_on, min(grant.valid_until, clock.today())
    return first + timedelta(days=chance.randrange((last - first).days + 1))


def redeem(year: Year, visits: Sequence[Visit], bar: Bar) -> None:
    """Redeems at our tills; every so often a cheque is checked first, presented again afterwards, or mistyped."""
    bar.begin(sum(len(visit.cheques) for visit in visits))
    issued = year.counts["cheques"]
    twice = _numbers(year, "twice", len(visits), year.world.share("presented_twice", issued))
    wrong = _numbers(year, "wrong", len(visits), year.world.share("wrong_codes", issued))
    chance = year.chance("checks")
    checked = {number for number in range(len(visits)) if chance.random() < CHECKED}

    def visit(numbered: tuple[int, Visit]) -> None:
        number, visit = numbered
        if number in wrong:
            _type_wrongly(year, visit)
        if number in checked:
            _check(year, visit)
        _redeem(year, visit, key=f"visit {number}")
        if number in twice:
            _present_again(year, visit, key=f"again {number}")

    year.at_once(visit, list(enumerate(visits)), bar, lambda numbered: len(numbered[1].cheques))
    year.count("cheques spent at our tills", len(year.redemptions))
    year.count("presented twice, refused", len(twice))
    year.count("wrong codes, refused", len(wrong))


def redeem_at_operator(year: Year, operator: str, chosen: Sequence[tuple[Cheque, Identity]], bar: Bar) -> None:
    """Redeems at the operator's own till, which reports by webhook; some cheques are presented there twice."""
    bar.begin(len(chosen))
    chance = year.chance("operator's till")

    def redeem_one(presented: tuple[Cheque, Identity]) -> None:
        cheque, structure = presented
        body = {"code": cheque.code, "structure": structure.scope}
        year.calls.post_to(f"{operator}/till/redemptions", body, expected=CREATED)

    year.at_once(redeem_one, chosen, bar)
    for cheque, structure in chance.sample(chosen, min(TWICE_AT_OPERATOR, len(chosen))):
        year.calls.post_to(
            f"{operator}/till/redemptions", {"code": cheque.code, "structure": structure.scope}, expected=REFUSED
        )
    year.count("cheques spent at the operator's till", len(chosen))


def reverse(year: Year, bar: Bar) -> None:
    """Reverses some redemptions, whose cheques are spendable again."""
    chosen = year.chance("reversals").sample(year.redemptions, year.world.share("reversed", year.counts["cheques"]))
    bar.begin(len(chosen))

    def reverse_one(redemption: tuple[Identity, str]) -> None:
        structure, redemption_id = redemption
        path = f"/v1/redemptions/{redemption_id}/reversal"
        year.calls.post("redeemer", path, structure, {"reason": REVERSAL}, key=f"reversal {redemption_id}")

    year.at_once(reverse_one, chosen, bar)
    year.count("redemptions reversed", len(chosen))


def _numbers(year: Year, of: str, among: int, wanted: int) -> set[int]:
    return set(year.chance(of).sample(range(among), min(among, wanted)))


def _redeem(year: Year, visit: Visit, key: str) -> None:
    answer = year.calls.post("redeemer", "/v1/redemptions", visit.structure, presented(visit), key=key)
    year.redemptions += [(visit.structure, redemption["redemption_id"]) for redemption in answer["redemptions"]]


def presented(visit: Visit) -> dict[str, Any]:
    """What a till sends to redeem."""
    return {"codes": [cheque.code for cheque in visit.cheques], "given_on": visit.given_on.isoformat()}


def _check(year: Year, visit: Visit) -> None:
    body = {"code": visit.cheques[0].code, "given_on": visit.given_on.isoformat()}
    answer = year.calls.post("redeemer", "/v1/checks", visit.structure, body)
    if not answer["redeemable"]:
        raise Unexpected(f"A cheque that can be spent was said to be {answer['reason']}")


def _type_wrongly(year: Year, visit: Visit) -> None:
    body = {"codes": [cheque_code.generate()], "given_on": visit.given_on.isoformat()}
    _expect(year, visit.structure, body, "unknown-code", key=f"wrong {visit.cheques[0].cheque_id}")


def _present_again(year: Year, visit: Visit, key: str) -> None:
    _expect(year, visit.structure, presented(visit), "already-redeemed", key=key)


def _expect(year: Year, structure: Identity, body: dict[str, Any], reason: str, key: str) -> None:
    answer = year.calls.post("redeemer", "/v1/redemptions", structure, body, key=key, expected=(REFUSED,))
    reasons = {refusal["reason"] for refusal in answer["refusals"]}
    if reasons != {reason}:
        raise Unexpected(f"A redemption was refused as {', '.join(sorted(reasons))}, not as {reason}")
