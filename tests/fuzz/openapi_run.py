"""A run of schemathesis over a service's OpenAPI document, with tokens of each role and real identifiers."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import events, from_schema
from schemathesis.generation.meta import CoveragePhaseData, CoverageScenario, TestPhase
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER

from shared.access.tokens import SCOPED, Role
from tests.fuzz.world import World

_REAL = 0.8
"""How often an identifier that was made up gives way to a real one."""


@dataclass
class Outcome:
    """What was sent, and what was wrong with the answers."""

    cases: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)


def run(world: World, *, examples: int, seed: int, seconds: float) -> Outcome:
    """Sends examples, borders, made-up data and chains of requests; ends after so many seconds at the latest."""
    config = schemathesis.Config.from_dict(_config(examples, seconds, seed))
    schema = schemathesis.openapi.from_wsgi("/openapi.json", world.service.app, config=config)
    preparing = Preparing(world, Random(seed))
    outcome = Outcome()

    def before_call(_: HookContext, case: Case[Any], __: dict[str, Any]) -> None:
        preparing.prepare(case)

    def after_call(_: HookContext, case: Case[Any], response: Response) -> None:
        outcome.statuses[response.status_code] += 1
        preparing.look(response)

    with _hooked(before_call, after_call):
        for event in from_schema(schema).execute():
            _hear(outcome, event)
    return outcome


def _hear(outcome: Outcome, event: events.EngineEvent) -> None:
    if isinstance(event, events.ScenarioFinished):
        outcome.cases[event.phase.value] += len(event.recorder.cases)
        _note(outcome, event.recorder)
    elif isinstance(event, events.NonFatalError | events.FatalError):
        said = event.exception if isinstance(event, events.FatalError) else event.value
        outcome.findings[f"error {getattr(event, 'label', '')} {type(said).__name__}"] = str(said)[:600]


@contextmanager
def _hooked(*hooks: Callable[..., None]) -> Iterator[None]:
    for hook in hooks:
        schemathesis.hook(hook)
    try:
        yield
    finally:
        for hook in hooks:
            GLOBAL_HOOK_DISPATCHER.unregister(hook)


def _config(examples: int, seconds: float, seed: int) -> dict[str, Any]:
    answers = ["200", "201", "202", "204", "401", "403", "404", "409", "422", "429", "503"]
    return {
        "seed": seed,
        "max-time": seconds,
        "continue-on-failure": True,
        "generation": {"max-examples": examples, "no-shrink": True, "database": ":memory:"},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": answers},
            "ignored_auth": {"enabled": False},
            "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
            "max_response_time": 30,  # of what hangs, not of a busy machine
        },
        "phases": {"stateful": {"max-steps": 6}},
        "operations": [
            # A message without a length is one that is too long.
            {
                "include-path": "/v1/operators/{operator}/webhooks",
                "checks": {"negative_data_rejection": {"expected-statuses": ["400", "401", "404", "413", "415"]}},
            },
            # A line that is wrong is told as such in the report: the answer as a whole is good.
            {"include-path": "/v1/grants/bulk", "checks": {"negative_data_rejection": {"enabled": False}}},
            # RFC 6749 has 400 for a client, a grant or a scope that is not good.
            {
                "include-path": "/v1/oauth/token",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*answers, "400"]}},
            },
        ],
    }


def _note(outcome: Outcome, recorder: Any) -> None:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            failure = check.failure_info and check.failure_info.failure
            if failure:
                case = recorder.cases[case_id].value
                answer = recorder.interactions[case_id].response
                said = answer.content[:500] if answer else b""
                name = f"{case.operation.label}: {check.name}: {failure.title}: {answer and answer.status_code}"
                outcome.findings.setdefault(
                    name,
                    f"{case.formatted_path} {case.query} {str(case.body)[:500]}\n  {failure.message[:600]}\n  {said!r}",
                )


def _lacks_token(case: Case[Any]) -> bool:
    """Whether a request is to come without a token, on purpose."""
    data = case.meta.phase.data if case.meta else None
    if not isinstance(data, CoveragePhaseData) or data.scenario is not CoverageScenario.MISSING_PARAMETER:
        return False
    return str(data.parameter).lower() == "authorization"


def _follows(case: Case[Any]) -> bool:
    """Whether a request is about what one before it made."""
    return case.meta is not None and case.meta.phase.name is TestPhase.STATEFUL


def _whoever(roles: list[str]) -> Role:
    """The role to which nothing is hidden, where there is one."""
    return Role(next((role for role in roles if role not in SCOPED), roles[0]))


class Preparing:
    """Puts a token and real identifiers into requests, and learns more of these from the answers."""

    def __init__(self, world: World, chance: Random) -> None:
        self._world, self._chance = world, chance
        self._turn = itertools.count()

    def prepare(self, case: Case[Any]) -> None:
        """Makes a request one of somebody, about something; what is wrong with it on purpose stays wrong."""
        roles = case.operation.definition.raw.get("x-roles")
        if roles and not _lacks_token(case):
            token = self._world.token(_whoever(roles)) if _follows(case) else self._token(roles)
            case.headers["Authorization"] = f"Bearer {token}"
        if "Idempotency-Key" in case.headers and self._meant(case, ParameterLocation.HEADER):
            case.headers["Idempotency-Key"] = str(uuid4())
        if self._meant(case, ParameterLocation.PATH) and not _follows(case):
            self._fill(case.path_parameters)
        if self._meant(case, ParameterLocation.QUERY):
            self._fill(case.query)
        if self._meant(case, ParameterLocation.BODY):
            self._fill(case.body)

    def _token(self, roles: list[str]) -> str:
        turn = next(self._turn)
        foreign = turn % 16 == 7
        role = self._chance.choice(list(Role)) if turn % 16 == 15 else Role(roles[turn % len(roles)])
        return self._world.token(role, foreign=foreign)

    def _meant(self, case: Case[Any], place: ParameterLocation) -> bool:
        component = case.meta.components.get(place) if case.meta else None
        return component is None or component.mode.is_positive

    def _fill(self, given: Any) -> None:
        if isinstance(given, list):
            for item in given:
                self._fill(item)
        elif isinstance(given, dict):
            for name, value in given.items():
                given[name] = self._real(name, value)

    def _real(self, name: str, value: Any) -> Any:
        singular = name.removesuffix("s") if name.endswith("_ids") or name == "codes" else name
        known = self._world.known.get(singular) or (self._some_id() if name == "after" else [])
        if not known or self._chance.random() > _REAL or value is None:
            self._fill(value)
            return value
        if isinstance(value, list):
            return [self._chance.choice(known) for _ in value] or [self._chance.choice(known)]
        return self._chance.choice(known)

    def _some_id(self) -> list[Any]:
        return self._world.known.get("grant_id") or []

    def look(self, response: Response) -> None:
        """Learns from an answer."""
        if response.status_code < 300 and b"{" in response.content[:2]:
            self._world.learn(response.json())
