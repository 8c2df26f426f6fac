"""From a person's situation to an amount, by the rule that the programme declares.

A rule is data, in the shape of `schemas.RuleSchema`. Points add up: the last of the `amounts` whose `from_points` is
reached counts, or the first of the `conditions` that is met. 0 cents, or no condition that is met, means that nothing
is granted. `stating` names who may state an amount instead; by default everybody. `per_person` is for `person_limits`.
Answers are not stored, only their outcome.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.issuer.programmes import person_limits
from services.issuer.programmes.models import Programme
from shared.problems import Conflict, Invalid
from shared.values.money import euros

MAX_CHEQUES = 1000
# The largest value of a cheque in cents: every reader of the log stores it as a 32-bit number.
MAX_VALUE_CENTS = 1_000_000

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The amount in cents that a rule gives, 0 where it grants nothing, and the reason."""

    amount_cents: int
    reason: str
    points: int | None = None


def assess(rule: Rule | None, answers: Mapping[str, str]) -> Outcome:
    """The outcome of a programme's rule for these answers, by question key.

    Raises Conflict where the rule has no questions, Invalid where an answer is missing or unknown.
    """
    if rule is None or "questions" not in rule:
        raise Conflict(
            "The programme declares no assessment rule: state an amount and a reason.", slug="no-assessment-rule"
        )
    errors = _faults(rule["questions"], answers)
    if errors:
        raise Invalid("Some answers are not valid: see `errors`.", errors={"answers": errors})
    points = sum(question["answers"][answers[question["key"]]] for question in rule["questions"])
    return _by_conditions(rule, answers, points) if "conditions" in rule else _by_points(rule, points)


def _by_points(rule: Rule, points: int) -> Outcome:
    step = next((step for step in reversed(rule["amounts"]) if step["from_points"] <= points), None)
    if step is None or step["cents"] == 0:
        return Outcome(0, f"Assessed at {points} points: nothing is granted.", points)
    reason = f"Assessed at {points} points: {euros(step['cents'])} from {step['from_points']} points."
    return Outcome(step["cents"], reason, points)


def _by_conditions(rule: Rule, answers: Mapping[str, str], points: int) -> Outcome:
    """The reason does not name the condition that was met: it might disclose an answer."""
    held = next((condition for condition in rule["conditions"] if _holds(condition, answers, points)), None)
    if held is None or held["cents"] == 0:
        return Outcome(0, (held or {}).get("reason") or "Assessed: nothing is granted.", points)
    return Outcome(held["cents"], held.get("reason") or f"Assessed: {euros(held['cents'])}.", points)


def _holds(condition: Rule, answers: Mapping[str, str], points: int) -> bool:
    wanted = condition.get("when", {})
    return points >= condition.get("from_points", points) and all(answers[key] in wanted[key] for key in wanted)


def check_stated(programme: Programme, amount_cents: int, role: str, typologies: Collection[str]) -> None:
    """Raises Conflict where the caller must answer questions instead, Invalid where the amount cannot be granted."""
    stating = (programme.assessment or {}).get("stating")
    if stating is not None and not person_limits.permits(stating, role, typologies):
        raise Conflict(
            f"Answer the programme's questions: only {' or '.join(stating['roles'])} may state an amount"
            f"{', if of a kind that its rule names' if 'typologies' in stating else ''}.",
            slug="assessment-required",
        )
    fault = amount_fault(programme, amount_cents)
    if fault:
        raise Invalid("The amount cannot be granted: see `errors`.", errors={"amount_cents": [fault]})


def values(programme: Programme, amount_cents: int) -> tuple[int, ...]:
    """The value of each cheque of a grant of this amount, in cents."""
    if programme.single_cheque:
        return (amount_cents,)
    return (programme.face_value_cents,) * (amount_cents // programme.face_value_cents)


def amount_fault(programme: Programme, cents: int) -> str | None:
    """The fault of an amount for the programme; None where there is none."""
    step, least = programme.face_value_cents, programme.minimum_grant_cents
    if cents < least:
        return f"At least {least} ({euros(least)})."
    if cents % step:
        return f"A multiple of the face value of {step} ({euros(step)})."
    if programme.single_cheque:
        return f"At most {euros(MAX_VALUE_CENTS)}, as it is one cheque." if cents > MAX_VALUE_CENTS else None
    if cents > MAX_CHEQUES * step:
        return f"At most {MAX_CHEQUES} cheques of {euros(step)} in one grant."
    return None


def rule_faults(programme: Programme, rule: Rule) -> list[str]:
    """The faults of a rule of the right shape for a programme."""
    questions = rule.get("questions", [])
    faults = []
    if len({question["key"] for question in questions}) < len(questions):
        faults.append("Each question needs a key of its own.")
    if any(later["from_points"] <= earlier["from_points"] for earlier, later in pairwise(rule.get("amounts", []))):
        faults.append("The amounts go by `from_points`, from the lowest to the highest.")
    faults += _condition_faults(questions, rule.get("conditions", []))
    for step in (*rule.get("amounts", []), *rule.get("conditions", [])):
        cents = step["cents"]
        if cents and (fault := amount_fault(programme, cents)):
            faults.append(f"{cents} cents: {fault}")
    return faults + person_limits.faults(programme, rule.get("per_person"))


def _condition_faults(questions: Iterable[Rule], conditions: Iterable[Rule]) -> list[str]:
    offered = {question["key"]: question["answers"] for question in questions}
    return [
        f"A condition wants {key} to be {answer}, which no question offers."
        for condition in conditions
        for key, answers in condition.get("when", {}).items()
        for answer in answers
        if answer not in offered.get(key, ())
    ]


def _faults(questions: Iterable[Rule], answers: Mapping[str, str]) -> dict[str, list[str]]:
    offered = {question["key"]: question["answers"] for question in questions}
    return {
        key: [f"Expected one of: {', '.join(options)}."]
        for key, options in offered.items()
        if answers.get(key) not in options
    } | {key: ["There is no such question."] for key in answers if key not in offered}
