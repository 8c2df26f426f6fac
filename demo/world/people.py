"""Invented beneficiaries: common French names, put together by chance."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

OLDEST = date(1938, 1, 1)
YEARS = 68


@dataclass(frozen=True)
class Person:
    """Somebody who receives cheques."""

    family_name: str
    given_name: str
    birth_date: date


def invent(chance: random.Random, names: Mapping[str, Sequence[str]]) -> Person:
    """A person born between 1938 and 2005, named from `names["family"]` and `names["given"]`."""
    born = OLDEST + timedelta(days=chance.randrange(YEARS * 365))
    return Person(chance.choice(names["family"]), chance.choice(names["given"]), born)
