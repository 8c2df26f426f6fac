"""The statement that spends cheques: for one presentation, or for several of strangers at the same time.

It is its own transaction and one round trip. It works at READ COMMITTED, where its snapshot may be older than a rival's
commit, so everything that decides is read from rows that it has locked, in their latest version:

* of two requests with one key at the same time, the second does not get the key's lock and is told to wait;
* `known` locks the cheques, in the order of their ids, and gives them as they stand once locked, so of any number of
  rivals one finds them spendable, and sets of cheques that overlap wait for one another but never in a circle;
* `spent` asks nothing more of them: a condition there would be held against the snapshot, in which a cheque that was
  given back a moment ago is not spendable yet;
* a request whose twin committed after the snapshot finds its cheques spent, or its presentation there already
  (`ON CONFLICT`), does nothing, and a second look finds what it was answered.

Presentations that go together are judged each by itself. No two of them have a cheque or a key in common, and together
they never wait for a lock (`NOWAIT`): what is contested is asked alone, so nobody waits for a stranger.
"""

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
from shared.process import single_statement
from shared.process.runtime import Runtime
from shared.process.single_statement import Statement, json_rows, rows_of_json
from shared.values import clock
from shared.values.ids import new_id

# Who presented what, from where: recorded here, as no trigger may make a till wait.
AUDITED = """,
    audited AS (
        INSERT INTO audit_entry (occurred_at, role, scope, subject, address, request_id, action, object_kind, object_id,
                                 after)
        SELECT %(now)s, role, scope, subject, sender, request_id, action, 'presentation', presentation_id::text,
               jsonb_build_object('redemptions', count(*), 'amount_cents', sum(value_cents))
        FROM taken GROUP BY presentation_id, role, scope, subject, sender, request_id, action
    )"""

_PRESENTATION = "presentation_id uuid, key text, request_digest bytea"
_ACT = "role text, scope uuid, subject text, sender text, request_id text, action text"
_BEFORE_LOCKING = (
    "WITH asked AS (",
    rows_of_json("asked", f"{eligibility.QUESTION}, {_PRESENTATION}, {_ACT}"),
    "), code AS (",
    rows_of_json("codes", f"{eligibility.CODE}, redemption_id uuid, event_id uuid"),
    "), gate AS MATERIALIZED (SELECT ",
    eligibility.GATE,
    """, pg_try_advisory_xact_lock(hashtextextended(structure_id::text || ' ' || key, 0)) AS open FROM asked),
    known AS MATERIALIZED (
        SELECT code.number, code.index, cheque.*
        FROM gate JOIN code USING (number) JOIN cheque ON digest = ANY(digests)
        WHERE open AND barred_until IS NULL AND rules_id = ANY(rules)
        ORDER BY cheque.id FOR UPDATE OF cheque""",
)
_AFTER_LOCKING = (
    """
    ),""",
    eligibility.JUDGED,
    """,
    presented AS (
        INSERT INTO presentation (id, structure_id, key, request_digest, service, postcode, presented_at)
        SELECT presentation_id, structure_id, key, request_digest, service, postcode, %(now)s
        FROM gate WHERE NOT EXISTS (SELECT FROM judged WHERE judged.number = gate.number AND verdict IS NOT NULL)
        ON CONFLICT DO NOTHING RETURNING id
    ),
    taken AS (
        SELECT judged.* FROM presented JOIN judged ON presentation_id = presented.id
    ),
    spent AS (
        UPDATE cheque SET ending = 'redeemed', redeemed_at = %(now)s
        FROM taken WHERE cheque.id = taken.cheque_id
    ),
    redeemed AS (
        INSERT INTO redemption (id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, given_on,
                                redeemed_at, state)
        SELECT redemption_id, cheque_id, presentation_id, structure_id, programme, value_cents, 'till', given_on,
               %(now)s, 'due'
        FROM taken
    ),
    told AS (
        INSERT INTO event (event_id, kind, version, key, occurred_at, request_id, body)
        SELECT (array_agg(event_id))[1], 'cheques.redeemed', %(version)s, presentation_id::text, %(now)s, request_id,
               jsonb_build_object(
                    'presentation_id', presentation_id,
                    'structure_id', structure_id,
                    'programme', programme,
                    'via', 'till',
                    'contract_id', NULL,
                    'redeemed_at', %(now)s::timestamptz,
                    'given_on', given_on,
                    'redemptions', jsonb_agg(jsonb_build_object(
                        'redemption_id', redemption_id, 'cheque_id', cheque_id, 'amount_cents', value_cents
                    ) ORDER BY index)
               )
        FROM taken GROUP BY presentation_id, structure_id, given_on, request_id, programme
    )""",
    AUDITED,
    """
    SELECT number, open, barred_until, presented.id IS NOT NULL AS done, cheque_id, value_cents, verdict, redeemed_at
    FROM judged LEFT JOIN presented ON presented.id = presentation_id
    ORDER BY number, index
""",
)
ALONE = (*_BEFORE_LOCKING, *_AFTER_LOCKING)
_ALONE = Statement(*ALONE)
_TOGETHER = Statement(*_BEFORE_LOCKING, " NOWAIT", *_AFTER_LOCKING)


@dataclass(frozen=True)
class Request:
    """Cheques presented by a structure, and by what the request is known again."""

    structure_id: UUID
    key: str
    digest: bytes
    typed: Typed
    workshop: Workshop
    address: str | None = None
    """From where, as `shared.limiting.client_address` gives it."""

    former_digests: Sequence[bytes] = ()
    """The same by keys that are on their way out: the first request may have been kept under one."""

    @property
    def guesser(self) -> Guesser:
        """Who guesses, if this is a guess."""
        return Guesser(self.structure_id, self.address)


@dataclass(frozen=True)
class Line:
    """What came of one code; `open`, `barred_until` and `done` are of its whole presentation."""

    number: int
    open: bool
    barred_until: datetime | None
    done: bool
    cheque_id: UUID | None
    value_cents: int | None
    verdict: str | None
    redeemed_at: datetime | None


@dataclass(frozen=True)
class Attempt:
    """A request on its way to the database, with the ids of what may become of it."""

    request: Request
    digests: Sequence[Sequence[bytes]]
    redemption_ids: Sequence[UUID]
    presentation_id: UUID = field(default_factory=new_id)
    act: dict[str, Any] = field(default_factory=lambda: _act(trail.current()))

    @classmethod
    def of(cls, request: Request, keys: Sequence[bytes]) -> "Attempt":
        """A first attempt: its codes are digested by each of these keys."""
        # In the order of the codes, so that sorting by them gives the lines of the answer again.
        return cls(request, request.typed.digests(keys), sorted(new_id() for _ in request.typed.codes))

    @property
    def contested(self) -> set[object]:
        """What no other attempt of the same statement may have."""
        return {(self.request.structure_id, self.request.key), *(digest for code in self.digests for digest in code)}

    def asked(self, number: int) -> dict[str, Any]:
        """The row of `asked` that this is."""
        request = self.request
        said = {"presentation_id": self.presentation_id, "key": request.key, "request_digest": request.digest}
        return eligibility.asked(number, request.guesser, request.workshop) | said | self.act

    def codes(self, number: int) -> list[dict[str, Any]]:
        """Its rows of `code`; an event for each programme, at most one for each cheque."""
        return [
            {"number": number, "index": index, "digests": digests, "redemption_id": redemption_id, "event_id": new_id()}
            for index, (digests, redemption_id) in enumerate(zip(self.digests, self.redemption_ids, strict=True))
        ]


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: when, and its lines in the order of the codes."""

    at: datetime
    lines: Sequence[Line]


def _act(act: Act) -> dict[str, Any]:
    columns = act.columns()
    return {"sender": columns.pop("address"), **columns}


def alone(runtime: Runtime, attempt: Attempt) -> Outcome:
    """Waits for whoever else wants these cheques; raises Unavailable."""
    given = parameters([attempt])
    return Outcome(given["now"], single_statement.ask(runtime, _ALONE, given, Line))


def together(runtime: Runtime, attempts: Sequence[Attempt]) -> list[Outcome | None]:
    """Waits for nobody: None for an attempt that has something in common with one before it.

    Raises psycopg's errors, LockNotAvailable where somebody else has one of the cheques; then nothing was done.
    """
    taken: set[object] = set()
    apart = []
    for attempt in attempts:
        if taken.isdisjoint(attempt.contested):
            taken |= attempt.contested
            apart.append(attempt)
    given = parameters(apart)
    lines = single_statement.ask_once(runtime, _TOGETHER, given, Line)
    outcomes = {
        apart[number - 1].presentation_id: Outcome(given["now"], list(those))
        for number, those in groupby(lines, attrgetter("number"))
    }
    return [outcomes.get(attempt.presentation_id) for attempt in attempts]


def parameters(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The parameters of the statement."""
    numbered = list(enumerate(attempts, 1))
    return {
        "asked": json_rows([attempt.asked(number) for number, attempt in numbered]),
        "codes": json_rows([code for number, attempt in numbered for code in attempt.codes(number)]),
        "now": clock.now(),
        "today": clock.today(),
        "version": event_kinds.VERSION,
    }
