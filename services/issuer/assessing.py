"""From a person's situation to an amount, by the rule that the programme declares.

A rule is data: `{"questions": [{"key", "label", "answers": {answer: points}}], "amounts": [{"from_points", "cents"}]}`.
Points add up; the last amount whose `from_points` is reached counts; 0 cents means that nothing is granted.
What was answered is not kept, only what came of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.issuer.models import Programme
from services.issuer.money import euros
from shared.problems import Conflict, Invalid

MOST_CHEQUES = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """An amount in cents, 0 where nothing is granted, and why."""

    amount_cents: int
    reason: str
    points: int | None = None


def assess(programme: Programme, answers: Mapping[str, str]) -> Outcome:
    """What the programme grants for these answers, by question key.

    Raises Conflict where the programme has no rule, Invalid where a question is not answered as it may be.
    """
    rule = programme.assessment
    if rule is None:
        raise Conflict(
            "The programme declares no assessment rule: state an amount and a reason.", slug="no-assessment-rule"
        )
    errors = _faults(rule["questions"], answers)
    if errors:
        raise Invalid("Some answers are not valid: see `errors`.", errors={"answers": errors})
    points = sum(question["answers"][answers[question["key"]]] for question in rule["questions"])
    reached = [step for step in rule["amounts"] if step["from_points"] <= points]
    if not reached or reached[-1]["cents"] == 0:
        return Outcome(0, f"Assessed at {points} points: nothing is granted.", points)
    step = reached[-1]
    reason = f"Assessed at {points} points: {euros(step['cents'])} from {step['from_points']} points."
    return Outcome(step["cents"], reason, points)


def state(programme: Programme, amount_cents: int, reason: str) -> Outcome:
    """An amount that a prescriber states; raises Invalid where the programme cannot grant it."""
    fault = amount_fault(amount_cents, programme.face_value_cents, programme.minimum_grant_cents)
    if fault:
        raise Invalid("The amount cannot be granted: see `errors`.", errors={"amount_cents": [fault]})
    return Outcome(amount_cents, reason)


def amount_fault(cents: int, face_value_cents: int, minimum_cents: int) -> str | None:
    """What is wrong with an amount, if anything."""
    if cents < minimum_cents:
        return f"At least {minimum_cents} ({euros(minimum_cents)})."
    if cents % face_value_cents:
        return f"A multiple of the face value of {face_value_cents} ({euros(face_value_cents)})."
    if cents > MOST_CHEQUES * face_value_cents:
        return f"At most {MOST_CHEQUES} cheques of {euros(face_value_cents)} in one grant."
    return None


def rule_faults(rule: Mapping[str, Any], face_value_cents: int, minimum_cents: int) -> list[str]:
    """What is wrong with a rule whose shape is right, if anything."""
    keys = [question["key"] for question in rule["questions"]]
    steps = [step["from_points"] for step in rule["amounts"]]
    faults = []
    if len(set(keys)) < len(keys):
        faults.append("Each question needs a key of its own.")
    if any(later <= earlier for earlier, later in pairwise(steps)):
        faults.append("The amounts go by `from_points`, from the lowest to the highest.")
    faults += _amount_faults((step["cents"] for step in rule["amounts"]), face_value_cents, minimum_cents)
    return faults


def _amount_faults(amounts: Iterable[int], face_value_cents: int, minimum_cents: int) -> list[str]:
    faults = ((cents, amount_fault(cents, face_value_cents, minimum_cents)) for cents in amounts if cents)
    return [f"{cents} cents: {fault}" for cents, fault in faults if fault]


def _faults(questions: Iterable[Mapping[str, Any]], answers: Mapping[str, str]) -> dict[str, list[str]]:
    faults = {}
    asked = set()
    for question in questions:
        asked.add(question["key"])
        if answers.get(question["key"]) not in question["answers"]:
            faults[question["key"]] = [f"Expected one of: {', '.join(question['answers'])}."]
    return faults | {key: ["There is no such question."] for key in answers if key not in asked}
