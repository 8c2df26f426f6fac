"""Redeeming: cheques that a structure presents together are all spent by one statement, or none of them is.

The statement is its own transaction and one round trip. It works at READ COMMITTED, where its snapshot may be older
than a rival's commit, so everything that decides is read from rows that it has locked, in their latest version:

* of two requests with one key at the same time, the second does not get the key's lock and is told to wait;
* `known` locks the cheques, in the order of their ids, and gives them as they stand once locked, so of any number of
  rivals one finds them spendable, and sets of cheques that overlap wait for one another but never in a circle;
* `spent` asks nothing more of them: a condition there would be held against the snapshot, in which a cheque that was
  given back a moment ago is not spendable yet;
* a request whose twin committed after the snapshot finds its cheques spent, or its presentation there already
  (`ON CONFLICT`), does nothing, and a second look finds what it was answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from services.redeemer import guessing, judging
from services.redeemer.guessing import Guesser
from services.redeemer.judging import UNKNOWN, Typed, Workshop
from services.redeemer.models import Presentation, Redemption
from shared import audit, messages, roundtrip
from shared.idempotency import InHand, KeyReused
from shared.ids import new_id
from shared.problems import Conflict
from shared.roundtrip import Statement
from shared.runtime import Runtime

MAX_CODES = 50

# Who presented what, from where: recorded here, as no trigger may make a till wait.
AUDITED = """,
    audited AS (
        INSERT INTO audit_entry (occurred_at, role, scope, subject, address, request_id, action, object_kind, object_id,
                                 after)
        SELECT %(now)s, %(role)s::text, %(scope)s::uuid, %(subject)s::text, %(address)s::text, %(request_id)s,
               %(action)s::text, 'presentation', %(presentation)s::uuid::text,
               jsonb_build_object('redemptions', count(*), 'amount_cents', sum(value_cents))
        FROM taken HAVING count(*) > 0
    )"""

PARTS = (
    """
    WITH gate AS MATERIALIZED (
        SELECT pg_try_advisory_xact_lock(hashtextextended(%(structure)s::text || ' ' || %(key)s::text, 0)) AS open,""",
    guessing.BARRED,
    """ AS barred_until
    ),""",
    judging.ASKED,
    """,
    known AS MATERIALIZED (
        SELECT * FROM cheque
        WHERE digest = ANY(%(digests)s::bytea[]) AND (SELECT open AND barred_until IS NULL FROM gate)
              AND rules_id = ANY(""",
    judging.TAKEN_HERE,
    """)
        ORDER BY id FOR UPDATE
    ),""",
    judging.JUDGED,
    """,
    presented AS (
        INSERT INTO presentation (id, structure_id, key, request_digest, service, postcode, presented_at)
        SELECT %(presentation)s::uuid, %(structure)s, %(key)s, %(request_digest)s, %(service)s, %(postcode)s, %(now)s
        WHERE NOT EXISTS (SELECT FROM judged WHERE verdict IS NOT NULL)
        ON CONFLICT DO NOTHING RETURNING id
    ),
    taken AS (
        SELECT judged.*, presented.id AS presentation_id, redemption_id, event_id
        FROM presented, judged
        JOIN unnest(%(indexes)s::int[], %(redemption_ids)s::uuid[], %(event_ids)s::uuid[])
             AS given (index, redemption_id, event_id) USING (index)
    ),
    spent AS (
        UPDATE cheque SET ending = 'redeemed', redeemed_at = %(now)s
        FROM taken WHERE cheque.id = taken.cheque_id
    ),
    redeemed AS (
        INSERT INTO redemption (id, cheque_id, presentation_id, structure_id, programme, amount_cents, via, given_on,
                                redeemed_at, state)
        SELECT redemption_id, cheque_id, presentation_id, %(structure)s, programme, value_cents, 'till', %(given_on)s,
               %(now)s, 'due'
        FROM taken
    ),
    told AS (
        INSERT INTO event (event_id, kind, version, key, occurred_at, request_id, body)
        SELECT (array_agg(event_id))[1], 'cheques.redeemed', %(version)s, presentation_id::text, %(now)s,
               %(request_id)s, jsonb_build_object(
                    'presentation_id', presentation_id,
                    'structure_id', %(structure)s::uuid,
                    'programme', programme,
                    'via', 'till',
                    'contract_id', NULL,
                    'redeemed_at', %(now)s::timestamptz,
                    'given_on', %(given_on)s::date,
                    'redemptions', jsonb_agg(jsonb_build_object(
                        'redemption_id', redemption_id, 'cheque_id', cheque_id, 'amount_cents', value_cents
                    ) ORDER BY index)
               )
        FROM taken GROUP BY presentation_id, programme
    )""",
    AUDITED,
    """
    SELECT open, barred_until, EXISTS (SELECT FROM presented) AS done, cheque_id, value_cents, verdict, redeemed_at
    FROM gate, judged ORDER BY index
""",
)
_REDEEM = Statement(*PARTS)


class RedemptionRefused(Conflict):
    """At least one of the cheques presented cannot be taken, so none was; `refusals` says which and why."""

    slug = "redemption-refused"
    title = "The cheques were not redeemed"


@dataclass(frozen=True)
class Request:
    """Cheques presented by a structure, and by what the request is known again."""

    structure_id: UUID
    key: str
    digest: bytes
    codes: Sequence[str]
    workshop: Workshop
    address: str | None = None
    """From where, as `shared.senders` gives it."""

    former_digests: Sequence[bytes] = ()
    """The same by keys that are on their way out: the first request may have been kept under one."""

    @property
    def guesser(self) -> Guesser:
        """Who guesses, if this is a guess."""
        return Guesser(self.structure_id, self.address)


@dataclass(frozen=True)
class _Judged:
    open: bool
    barred_until: datetime | None
    done: bool
    cheque_id: UUID | None
    value_cents: int | None
    verdict: str | None
    redeemed_at: datetime | None


def redeem(runtime: Runtime, request: Request) -> dict[str, Any]:
    """Spends all the cheques presented, or answers a request that was answered already as it was.

    Raises RedemptionRefused where one of them cannot be taken, KeyReused, InHand, TooMany, or Invalid where a code is
    there twice.
    """
    typed = judging.read(request.codes)
    parameters = _parameters(runtime, request, typed)
    judged = roundtrip.ask(runtime, _REDEEM, parameters, _Judged)
    if not judged[0].done:
        earlier = _answered_before(runtime, request, judged[0].open)
        if earlier is None:
            raise _refusal(runtime, request, typed, judged)
        return earlier
    runtime.bell.ring()
    lines = zip(parameters["redemption_ids"], judged, strict=True)
    taken = [(redemption_id, line.cheque_id, line.value_cents) for redemption_id, line in lines]
    return _answer(parameters["presentation"], parameters["now"], taken)


def _parameters(runtime: Runtime, request: Request, typed: Typed) -> dict[str, Any]:
    return {
        **judging.parameters(request.guesser, request.workshop),
        **typed.candidates([*runtime.settings.keys["CODE_DIGEST_KEY"].values()]),
        "key": request.key,
        "request_digest": request.digest,
        "presentation": new_id(),
        # In the order of the codes, so that sorting by them gives the lines of the answer again.
        "redemption_ids": sorted(new_id() for _ in request.codes),
        "event_ids": [new_id() for _ in request.codes],  # one event for each programme, at most one for each cheque
        "version": messages.VERSION,
        **audit.current().columns(),
    }


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
        same = (Presentation.structure_id == request.structure_id) & (Presentation.key == request.key)
        first = session.scalar(sa.select(Presentation).where(same))
        if first is None:
            return None
        if first.request_digest not in (request.digest, *request.former_digests):
            raise KeyReused("Take a fresh key for a new request.")
        line = (Redemption.id, Redemption.cheque_id, Redemption.amount_cents)
        mine = sa.select(*line).where(Redemption.presentation_id == first.id).order_by(Redemption.id)
        taken = [(row.id, row.cheque_id, row.amount_cents) for row in session.execute(mine)]
    return _answer(first.id, first.presented_at, taken)


def _refusal(runtime: Runtime, request: Request, typed: Typed, judged: Sequence[_Judged]) -> RedemptionRefused:
    """Why nothing was redeemed; counts the codes that were not found. Raises TooMany where there were too many."""
    if judged[0].barred_until:
        raise guessing.too_many(judged[0].barred_until)
    unknown = sum(line.verdict == UNKNOWN and index not in typed.faults for index, line in enumerate(judged))
    if unknown:
        guessing.count(runtime, request.guesser, unknown, guessing.A_REDEMPTION)
    refusals = [
        {"index": index, **judging.refusal(line.verdict, line.redeemed_at, typed.faults.get(index))}
        for index, line in enumerate(judged)
        if line.verdict
    ]
    return RedemptionRefused("Nothing was redeemed: see `refusals`.", refusals=refusals)
