"""Presentations on their way to `redeem.sql`, which spends their cheques: one alone, or several together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from services.redeemer.redemptions import eligibility
from services.redeemer.redemptions.eligibility import Typed, Workshop
from services.redeemer.redemptions.lockout import Guesser
from shared.audit import trail
from shared.audit.trail import Act
from shared.eventlog import event_kinds
from shared.process.prepared_query import PreparedQuery, json_rows
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

_TOGETHER, _ALONE = PreparedQuery(eligibility.TOGETHER), PreparedQuery(eligibility.ALONE)


@dataclass(frozen=True)
class Request:
    """Cheques presented by a structure, and the key and digest by which the request is recognised when repeated."""

    structure_id: UUID
    key: str
    digest: bytes
    typed: Typed
    workshop: Workshop
    address: str | None = None
    """From where, as `shared.limiting.client_address` gives it."""

    former_digests: Sequence[bytes] = ()
    """Digests by keys that are being replaced: the first request may have been stored with one of them."""

    @property
    def guesser(self) -> Guesser:
        """Who guesses, if this is a guess."""
        return Guesser(self.structure_id, self.address)


@dataclass(frozen=True)
class Line:
    """The result for one code; `has_key`, `locked_out_until` and `done` are of its whole presentation."""

    number: int
    has_key: bool
    locked_out_until: datetime | None
    done: bool
    cheque_id: UUID | None
    value_cents: int | None
    verdict: str | None
    redeemed_at: datetime | None


@dataclass(frozen=True)
class Attempt:
    """A request on its way to the database, with the ids of the rows that it may make."""

    request: Request
    digests: Sequence[Sequence[bytes]]
    redemption_ids: Sequence[UUID]
    presentation_id: UUID = field(default_factory=new_id)
    act: dict[str, Any] = field(default_factory=lambda: _act(trail.current()))

    @classmethod
    def of(cls, request: Request, keys: Sequence[bytes]) -> "Attempt":
        """The attempt of a request whose codes are digested by each of these keys."""
        # In the order of the codes, so that sorting by them gives the lines of the answer again.
        return cls(request, request.typed.digests(keys), sorted(new_id() for _ in request.typed.codes))

    @property
    def contested(self) -> set[object]:
        """The key and the digests, which no other attempt of the same statement may have."""
        return {(self.request.structure_id, self.request.key), *(digest for code in self.digests for digest in code)}

    def question(self, number: int) -> dict[str, Any]:
        """Its row of `questions`."""
        request = self.request
        columns = {"presentation_id": self.presentation_id, "key": request.key, "request_digest": request.digest}
        return eligibility.question(number, request.guesser, request.workshop) | columns | self.act

    def codes(self, number: int) -> list[dict[str, Any]]:
        """Its rows of `code`; an event for each programme, at most one for each cheque."""
        return [
            {"number": number, "index": index, "digests": digests, "redemption_id": redemption_id, "event_id": new_id()}
            for index, (digests, redemption_id) in enumerate(zip(self.digests, self.redemption_ids, strict=True))
        ]


@dataclass(frozen=True)
class Outcome:
    """The result of an attempt: when, and its lines in the order of the codes."""

    at: datetime
    lines: Sequence[Line]


def _act(act: Act) -> dict[str, Any]:
    columns = act.columns()
    return {"sender": columns.pop("address"), **columns}


def alone(runtime: Runtime, attempt: Attempt) -> Outcome:
    """The outcome of an attempt that waits for whoever else wants its cheques; raises Unavailable."""
    params = parameters([attempt])
    return Outcome(params["now"], _ALONE.run(runtime, params, Line))


def together(runtime: Runtime, attempts: Sequence[Attempt]) -> list[Outcome | None]:
    """The outcomes of attempts that wait for nobody: None where one has a key or a code in common with one before it.

    Raises psycopg's errors: LockNotAvailable where somebody else has locked one of the cheques; nothing was done then.
    """
    taken: set[object] = set()
    apart = []
    for attempt in attempts:
        if taken.isdisjoint(attempt.contested):
            taken |= attempt.contested
            apart.append(attempt)
    params = parameters(apart)
    lines = _TOGETHER.run_once(runtime, params, Line)
    outcomes = {
        apart[number - 1].presentation_id: Outcome(params["now"], list(group))
        for number, group in groupby(lines, attrgetter("number"))
    }
    return [outcomes.get(attempt.presentation_id) for attempt in attempts]


def parameters(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The parameters of the statement."""
    numbered = list(enumerate(attempts, 1))
    return {
        "questions": json_rows([attempt.question(number) for number, attempt in numbered]),
        "codes": json_rows([code for number, attempt in numbered for code in attempt.codes(number)]),
        "now": clock.now(),
        "today": clock.today(),
        "version": event_kinds.VERSION,
    }
