"""Whatever happens to cheques, in whatever order the news arrive, every book adds up to the cent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.redeemer import expiring
from shared import clock
from shared.config import SERVICES
from shared.messages import READERS
from tests.journey.conftest import World
from tests.journey.test_whole_path import assert_balanced

ROADS = [(publisher, reader) for publisher in SERVICES for reader in READERS[publisher]]
LAST_MONTH = clock.add_months(clock.today().replace(day=1), -1)

_BOOKED = sa.text("""
    SELECT convention_reference, count(*) AS granted, coalesce(sum(value_cents), 0) AS granted_cents,
           coalesce(sum(value_cents) FILTER (WHERE ending = 'redeemed'), 0) AS used_cents,
           coalesce(sum(value_cents) FILTER (WHERE ending = 'cancelled'), 0) AS cancelled_cents,
           coalesce(sum(value_cents) FILTER (WHERE ending = 'expired'), 0) AS expired_cents,
           coalesce(sum(value_cents) FILTER (WHERE ending IS NULL OR ending = 'redeemed'), 0) AS engaged_cents
    FROM issuer.cheque JOIN issuer.envelope ON envelope.id = envelope_id GROUP BY 1
""")
_UNLINKED = sa.text("""
    SELECT count(*) FROM issuer.replaced_cheque
    LEFT JOIN issuer.cheque old ON old.id = old_cheque_id LEFT JOIN issuer.cheque new ON new.id = new_cheque_id
    WHERE issued_at IS NOT NULL AND (old.ending, old.grant_id, old.envelope_id, old.value_cents)
          IS DISTINCT FROM ('cancelled', new.grant_id, new.envelope_id, new.value_cents)
""")


@dataclass
class Town:
    """A world, and what of it is in people's hands."""

    world: World
    owner: sa.Engine
    grants: list[str] = field(default_factory=list)
    cheques: dict[str, str] = field(default_factory=dict)
    """Codes by the ids of their cheques."""
    redemptions: list[str] = field(default_factory=list)
    replacements: list[str] = field(default_factory=list)
    suspended: bool = False

    def some(self, among: Sequence[str], dice: int, number: int = 3) -> list[str]:
        """A few of these, the same ones for the same dice."""
        return sorted({among[(dice * (7 * i + 1)) % len(among)] for i in range(1 + dice % number)}) if among else []

    def post(self, service: str, path: str, role: str, body: Any) -> Any:
        """What is answered, or None where it is refused: what cannot be done is part of life."""
        scope = {"prescriber": self.world.prescriber, "structure": self.world.structure}.get(role)
        answer = self.world.call(service, "POST", path, role, body, scope=scope)
        assert answer.status_code < 300 or answer.status_code in (404, 409), answer.text
        return answer.get_json() if answer.status_code < 300 else None

    def grant(self, dice: int) -> None:
        """An amount is granted, in a lot or not."""
        body = {"programme": "pass-numerique", "amount_cents": 5000 + 1000 * (dice % 4), "reason": "evaluation"}
        granted = self.post("issuer", "/v1/grants", "prescriber", body | ({"lot": "hiver"} if dice % 3 else {}))
        if granted:
            self.grants.append(granted["grant_id"])
            self.cheques |= {cheque["cheque_id"]: cheque["code"] for cheque in granted["cheques"]}

    def redeem(self, dice: int) -> None:
        """Some cheques are presented, together or one by one: of those presented together one can spoil the others."""
        codes = [self.cheques[cheque_id] for cheque_id in self.some(list(self.cheques), dice, 5)]
        for presented in [codes] if dice % 4 == 0 and codes else [[code] for code in codes]:
            taken = self.post("redeemer", "/v1/redemptions", "structure", {"codes": presented})
            self.redemptions += [line["redemption_id"] for line in taken["redemptions"]] if taken else []

    def reverse(self, dice: int) -> None:
        """A redemption is taken back, unless it stands on a statement."""
        for redemption in self.some(self.redemptions, dice, 1):
            self.post("redeemer", f"/v1/redemptions/{redemption}/reversal", "structure", {"reason": "Mistake."})

    def cancel(self, dice: int) -> None:
        """Some cheques are to be cancelled, or an amount of a grant."""
        for grant in self.some(self.grants, dice, 1):
            body = {"grant_id": grant, "amount_cents": 2000} if dice % 2 else {}
            what = body or {"cheque_ids": self.some(list(self.cheques), dice)}
            self.post("issuer", "/v1/cancellations", "prescriber", {"reason": "?", **what})

    def replace(self, dice: int) -> None:
        """Some cheques are reported lost."""
        if lost := self.some(list(self.cheques), dice):
            body = {"cheque_ids": lost, "cause": "lost", "reason": "?"}
            asked = self.post("issuer", "/v1/replacements", "prescriber", body)
            self.replacements += [asked["replacement_id"]] if asked else []

    def hand_over(self, dice: int) -> None:
        """The new cheques that there are by now are handed over."""
        for replacement in self.some(self.replacements, dice):
            shown = self.world.ask("issuer", "GET", f"/v1/replacements/{replacement}", "admin")
            new = [line["new_cheque"] for line in shown["cheques"] if line["new_cheque"]]
            self.cheques |= {cheque["cheque_id"]: cheque["code"] for cheque in new}

    def block(self, dice: int) -> None:
        """Some cheques are blocked, or released."""
        if chosen := self.some(list(self.cheques), dice):
            path = "/v1/blocks" if dice % 2 else "/v1/unblocks"
            self.post("issuer", path, "prescriber", {"cheque_ids": chosen, "reason": "?"})

    def suspend(self, dice: int) -> None:
        """The lot is suspended, or resumed."""
        path = "resumption" if self.suspended else "suspension"
        self.post("issuer", f"/v1/lots/hiver/{path}", "admin", {"reason": "?"})
        self.suspended = not self.suspended

    def expire(self, dice: int) -> None:
        """The time of some cheques is over."""
        over = sa.text("UPDATE redeemer.cheque SET presentable_until = :day WHERE id = ANY(CAST(:ids AS uuid[]))")
        with self.owner.begin() as connection:
            day = clock.today() - timedelta(days=1)
            connection.execute(over, {"day": day, "ids": self.some(list(self.cheques), dice, 2)})
        expiring.expire(self.world.services["redeemer"].runtime)

    def state(self) -> None:
        """What was presented was presented last month, and that month's statement is issued, once."""
        last_month = sa.text("UPDATE redeemer.redemption SET redeemed_at = :at WHERE statement_id IS NULL")
        with self.owner.begin() as connection:
            connection.execute(last_month, {"at": clock.now().replace(day=1, hour=12) - timedelta(days=10)})
        body = {"month": f"{LAST_MONTH:%Y-%m}", "structure_id": str(self.world.structure)}
        self.post("redeemer", "/v1/statements", "finance", body)

    def carry(self, dice: int) -> None:
        """One service hears of another, or the operator is told."""
        publisher, reader = ROADS[dice % len(ROADS)]
        self.world._carry(publisher, reader)
        if dice % 5 == 0:
            self.world.push()


ACTS: list[Callable[[Town, int], None]] = [
    Town.grant, Town.grant, Town.redeem, Town.redeem, Town.reverse, Town.cancel, Town.replace, Town.replace,
    Town.hand_over, Town.block, Town.suspend, Town.expire, Town.carry, Town.carry, Town.carry,
]  # fmt: skip


def assert_books_agree(town: Town) -> None:
    """The journal says what the cheques say, convention by convention, and the lot adds up."""
    with town.owner.connect() as connection:
        cheques = {row.convention_reference: row for row in connection.execute(_BOOKED)}
        assert connection.execute(_UNLINKED).scalar_one() == 0
    for convention in town.world.ask("issuer", "GET", "/v1/reports/conventions", "finance")["conventions"]:
        sums, expected = convention["sums"], cheques[convention["convention_reference"]]
        assert sums["granted"]["number"] == expected.granted
        for measure in ("granted", "used", "cancelled", "expired", "engaged"):
            assert sums[measure]["cents"] == getattr(expected, f"{measure}_cents"), measure
    total = town.world.ask("issuer", "GET", "/v1/lots/hiver/statement", "finance")["figures"]["total"]
    ends = ("used", "expired", "cancelled", "blocked", "open")
    for unit in ("number", "cents"):
        assert total[f"issued_{unit}"] == sum(total[f"{end}_{unit}"] for end in ends)
    for statement in town.world.ask("redeemer", "GET", "/v1/statements", "finance")["items"]:
        whole = town.world.ask("redeemer", "GET", f"/v1/statements/{statement['statement_id']}", "finance")
        assert statement["due_cents"] == sum(line["due_cents"] for line in whole["lines"])


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 10_000)), min_size=15, max_size=40))
def test_every_book_adds_up_after_any_history(
    world: World, owner: sa.Engine, history: list[tuple[Callable[[Town, int], None], int]]
) -> None:
    """The histories follow one another in one world: each begins where the one before ended."""
    world.call("issuer", "POST", "/v1/lots", "admin", {"code": "hiver", "name": "H", "programme": "pass-numerique"})
    town = Town(world, owner)
    town.grant(1)
    world.settle()
    for act, dice in history:
        act(town, dice)
    if len(town.redemptions) > 2:
        town.state()
    world.settle()
    if town.suspended:
        town.suspend(0)
        world.settle()
    assert_books_agree(town)
    assert_balanced(world)
