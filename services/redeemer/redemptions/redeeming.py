"""Redeeming: cheques that a structure presents together are all spent, or none of them is.

A request that is repeated gets its first answer again. `redeem.sql` spends the cheques of one presentation alone, or of
several together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.redeemer.redemptions import eligibility, lockout
from services.redeemer.redemptions.eligibility import UNKNOWN, Typed, Workshop
from services.redeemer.redemptions.lockout import Guesser
from services.redeemer.redemptions.models import Presentation, Redemption
from shared.audit import trail
from shared.audit.trail import Act
from shared.eventlog import event_kinds
from shared.http.idempotency import InHand, KeyReused
from shared.problems import Conflict
from shared.process.prepared_query import PreparedQuery, json_rows
from shared.process.runtime import Runtime
from shared.values import clock
from shared.values.ids import new_id

MAX_CODES = 50

_TOGETHER, _ALONE = PreparedQuery(eligibility.TOGETHER), PreparedQuery(eligibility.ALONE)


@dataclass(frozen=True)
class Request:
    """Cheques presented by a structure, and the key and digest by which the request is recognised when repeated."""

    guesser: Guesser
    """Who presents them, and guesses if this is a guess."""
    key: str
    digest: bytes
    typed: Typed
    workshop: Workshop
    former_digests: Sequence[bytes] = ()
    """Digests by keys that are being replaced: the first request may have been stored with one of them."""


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
        return {
            (self.request.guesser.structure_id, self.request.key),
            *(digest for code in self.digests for digest in code),
        }

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


class RedemptionRefused(Conflict, slug="redemption-refused", title="The cheques were not redeemed"):
    """At least one of the cheques cannot be accepted, so none was; `refusals` has which and why."""


def redeem(runtime: Runtime, request: Request) -> dict[str, Any]:
    """Spends all the cheques presented, or answers a request that was answered already as it was.

    Raises RedemptionRefused where one of them cannot be taken, KeyReused, InHand, TooMany, or Unavailable.
    """
    attempt = Attempt.of(request, [*runtime.settings.keys["CODE_DIGEST_KEY"].values()])
    outcome = runtime.batcher(together).submit(attempt) or alone(runtime, attempt)
    if not outcome.lines[0].done:
        earlier = _answered_before(runtime, request, outcome.lines[0].has_key)
        if earlier is None:
            raise _refusal(runtime, request, outcome.lines)
        return earlier
    runtime.bell.ring()
    lines = zip(attempt.redemption_ids, outcome.lines, strict=True)
    taken = [(redemption_id, line.cheque_id, line.value_cents) for redemption_id, line in lines]
    return _answer(attempt.presentation_id, outcome.at, taken)


def _answer(presentation_id: UUID, redeemed_at: datetime, taken: Sequence[tuple[UUID, Any, Any]]) -> dict[str, Any]:
    return {
        "presentation_id": presentation_id,
        "redemptions": [
            {"redemption_id": redemption_id, "cheque_id": cheque_id, "amount_cents": amount_cents}
            for redemption_id, cheque_id, amount_cents in taken
        ],
        "total_cents": sum(amount_cents for _, _, amount_cents in taken),
        "redeemed_at": redeemed_at,
    }


def _answered_before(runtime: Runtime, request: Request, has_key: bool) -> dict[str, Any] | None:
    """What was answered to the first request with this key, if there was one; raises InHand or KeyReused."""
    if not has_key:
        raise InHand("Repeat it in a moment: the answer will be the first request's.", headers={"Retry-After": "1"})
    with runtime.transaction() as session:
        same = (Presentation.structure_id == request.guesser.structure_id) & (Presentation.key == request.key)
        first = session.scalar(sa.select(Presentation).where(same))
        if first is None:
            return None
        if first.request_digest not in (request.digest, *request.former_digests):
            raise KeyReused("Take a fresh key for a new request.")
        line = (Redemption.id, Redemption.cheque_id, Redemption.amount_cents)
        mine = sa.select(*line).where(Redemption.presentation_id == first.id).order_by(Redemption.id)
        taken = [(row.id, row.cheque_id, row.amount_cents) for row in session.execute(mine)]
    return _answer(first.id, first.presented_at, taken)


def _refusal(runtime: Runtime, request: Request, judged: Sequence[Line]) -> RedemptionRefused:
    """Why nothing was redeemed; counts the codes that were not found. Raises TooMany where there were too many."""
    if judged[0].locked_out_until:
        raise lockout.too_many(judged[0].locked_out_until)
    faults = request.typed.faults
    unknown = sum(line.verdict == UNKNOWN and index not in faults for index, line in enumerate(judged))
    if unknown:
        lockout.count(runtime, request.guesser, unknown, lockout.A_REDEMPTION)
    refusals = [
        {"index": index, **eligibility.refusal(line.verdict, line.redeemed_at, faults.get(index))}
        for index, line in enumerate(judged)
        if line.verdict
    ]
    return RedemptionRefused("Nothing was redeemed: see `refusals`.", refusals=refusals)


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
