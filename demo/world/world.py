"""The sample world: what `demo/world` describes, and the plan of a year that chance makes of it, always the same."""

import functools
import itertools
import random
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from demo.world.people import Person, invent
from shared.values.clock import add_months

FOLDER = Path(__file__).parent
MONTHS_BEFORE = 15  # conventions and affiliations cover the oldest grant…
MONTHS_AFTER = 15  # … and the youngest cheque
COMES_BACK = 0.04  # how often a grant goes to somebody who had one


@dataclass(frozen=True)
class PlannedGrant:
    """A grant to be made: an adviser gives `amount_cents` to a person on a day."""

    adviser: int
    person: Person
    public: str
    granted_on: date
    amount_cents: int
    answers: Mapping[str, str]


@dataclass(frozen=True)
class World:
    """The description in `world.toml`, and the files beside it."""

    described: Mapping[str, Any]
    names: Mapping[str, Sequence[str]]
    today: date
    scale: float

    @classmethod
    def read(cls, today: date, scale: float = 1.0) -> "World":
        """The world that ships with the project; `scale` multiplies its numbers of grants."""
        return cls(_read("world"), _read("names"), today, scale)

    @property
    def programme(self) -> Mapping[str, Any]:
        """The programme, as its creation wants it."""
        programme: Mapping[str, Any] = self.described["programme"]
        return programme

    @property
    def period(self) -> dict[str, str]:
        """The days from which and until which conventions run."""
        starts_on, ends_on = add_months(self.today, -MONTHS_BEFORE), add_months(self.today, MONTHS_AFTER)
        return {"starts_on": starts_on.isoformat(), "ends_on": ends_on.isoformat()}

    @property
    def conventions(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The conventions, one per funder, each with the envelope under it, as their creation wants them."""
        return [self._convention(**described) for described in self.described["conventions"]]

    def _convention(self, envelope: Mapping[str, Any], **terms: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        held = {"programme": self.programme["code"], "amount_cents": terms["amount_cents"]}
        return terms | self.period, {**held, **envelope}

    @property
    def advisers(self) -> int:
        """How many people grant cheques."""
        return int(self.described["advisers"])

    @property
    def successors(self) -> Sequence[Mapping[str, Any]]:
        """The contracts that follow the first one, each with how it takes over."""
        successors: Sequence[Mapping[str, Any]] = self.described["successors"]
        return successors

    def share(self, use: str, of: int) -> int:
        """How many of `of` cheques meet this end."""
        per_mille: int = self.described["use"][use]
        return of * per_mille // 1000

    def places(self, kind: str) -> bytes:
        """The file of `structures` or of `prescribers`."""
        return (FOLDER / f"{kind}.csv").read_bytes()

    def chance(self, of: str) -> random.Random:
        """A source of chance for one purpose, the same in every run."""
        return random.Random(f"{self.described['seed']} {of}")  # noqa: S311 (an invented world, no secret)

    def plan_grants(self) -> list[PlannedGrant]:
        """All grants of the year, in the order of their days."""
        chance = self.chance("grants")
        amounts = [
            grant["amount_cents"] for grant in self.described["grants"] for _ in range(self._scaled(grant["count"]))
        ]
        chance.shuffle(amounts)
        publics, weights = zip(*self.described["publics"].items(), strict=True)
        earliest = add_months(self.today, -self.described["months_of_grants"])
        days = sorted(earliest + timedelta(days=chance.randrange((self.today - earliest).days + 1)) for _ in amounts)
        people: list[Person] = []
        return [
            PlannedGrant(
                adviser=chance.randrange(self.advisers),
                person=self._somebody(chance, people),
                public=chance.choices(publics, weights)[0],
                granted_on=day,
                amount_cents=amount,
                answers=chance.choice(self._answers[amount]),
            )
            for day, amount in zip(days, amounts, strict=True)
        ]

    def _somebody(self, chance: random.Random, people: list[Person]) -> Person:
        if people and chance.random() < COMES_BACK:
            return chance.choice(people)
        people.append(invent(chance, self.names))
        return people[-1]

    def _scaled(self, count: int) -> int:
        return max(1, round(count * self.scale))

    @functools.cached_property
    def _answers(self) -> dict[int, list[dict[str, str]]]:
        """The answers to the assessment that lead to each amount."""
        rule = self.programme["assessment"]
        keys = [question["key"] for question in rule["questions"]]
        found = defaultdict(list)
        for answers in itertools.product(*(question["answers"].items() for question in rule["questions"])):
            points = sum(value for _answer, value in answers)
            found[_amount(rule["amounts"], points)].append(
                {key: answer for key, (answer, _value) in zip(keys, answers, strict=True)}
            )
        return found


def _amount(steps: Sequence[Mapping[str, int]], points: int) -> int:
    return max((step["from_points"], step["cents"]) for step in steps if step["from_points"] <= points)[1]


def _read(name: str) -> dict[str, Any]:
    with (FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)
