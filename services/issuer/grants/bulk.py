"""Grants by the thousand, answered line by line: in portions, each in its own transaction, or all or nothing in one.

A line is granted once. Its reference says which one it is: its own, or one made from the request's origin and the
line's number. So what was cut off half way is sent again as it was, and goes on where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from services.issuer.grants import granting
from services.issuer.grants.issuing import Granted
from services.issuer.grants.models import GrantImport
from services.issuer.grants.requests import Order
from services.issuer.grants.secrets import Secrets
from services.issuer.people import access_log
from services.issuer.people.identities import Identities
from services.issuer.programmes import person_limits
from shared.files import file_import
from shared.files.file_import import Terms
from shared.observability.logs import logger
from shared.problems import Conflict, Invalid, Problem, Unavailable

_PORTION = 500
# One transaction: so many people and references are locked until it ends, and an envelope while it commits.
MOST_AT_ONCE = 2_000

Transactions = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True, slots=True)
class Line:
    """A line and its order, or what is wrong with it."""

    number: int
    order: Order | Problem


@dataclass(frozen=True, slots=True)
class Sent:
    """Lines as they were sent, and how they are to be taken.

    `origin` names the request, None where it may not be repeated; `digest` knows the file again.
    """

    lines: Sequence[Line]
    origin: str | None
    digest: str
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Made:
    """A grant that a line made, or had made `already`; on trial a new one has no identifier."""

    grant_id: UUID | None
    amount_cents: int
    already: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a line."""

    number: int
    outcome: Made | Problem

    def told(self) -> dict[str, Any]:
        """It, JSON-ready."""
        made = self.outcome
        if isinstance(made, Problem):
            return {"line": self.number, "problem": made.body()}
        named = {"grant_id": str(made.grant_id)} if made.grant_id else {}
        return {"line": self.number, **named, "amount_cents": made.amount_cents, "already": made.already}


@dataclass(slots=True)
class Taken:
    """What became of all lines, and when the very same file was sent before."""

    answers: list[Answer]
    already_imported_at: datetime | None = None

    def told(self) -> dict[str, Any]:
        """The report, JSON-ready: counts, the cents that are granted anew, and each line."""
        made = [answer.outcome for answer in self.answers if isinstance(answer.outcome, Made)]
        return {
            "already_imported_at": self.already_imported_at and self.already_imported_at.isoformat(),
            "accepted": len(made),
            "refused": len(self.answers) - len(made),
            "amount_cents": sum(grant.amount_cents for grant in made if not grant.already),
            "lines": [answer.told() for answer in self.answers],
        }


def grant_lines(transaction: Transactions, secrets: Secrets, sent: Sent) -> Taken:
    """Grants the good lines, in their order; where all or nothing is asked, they are granted only if all are good.

    Raises Invalid where too many are to be taken at once, Unavailable where the database went away: what was granted
    stays granted.
    """
    ready = list(_once(sent.lines, sent.origin))
    if sent.terms.all_or_nothing and len(ready) > MOST_AT_ONCE:
        raise Invalid(
            f"At most {MOST_AT_ONCE} lines can be all or nothing; these are {len(ready)}.", slug="too-many-lines"
        )
    # A trial is one portion too: a second one would stand on money that the first one did not really take.
    portion = _PORTION if sent.terms == Terms() else max(len(ready), 1)
    taken = Taken([])
    with _told_where_interrupted(taken, len(ready)):
        for at in range(0, len(ready), portion):
            lines = ready[at : at + portion]
            looks = _looks_recorded(transaction, secrets.identities, lines, sent.terms)
            with looks as answers, transaction() as session, file_import.taking(session, sent.terms):
                if at == 0:
                    taken.already_imported_at = file_import.known_since(session, sent.digest, GrantImport)
                answers += _grant_portion(session, secrets, lines, on_trial=sent.terms.dry_run)
                _require_whole(sent.terms, taken.already_imported_at, answers)
            taken.answers += answers
    return taken


@contextmanager
def _looks_recorded(
    transaction: Transactions, identities: Identities, lines: Sequence[Line], terms: Terms
) -> Iterator[list[Answer]]:
    """The block's answers say how people stand against limits: that is recorded of all to whom nothing was granted.

    It has a transaction of its own, as the block's may be undone and its answers are told all the same.
    """
    answers: list[Answer] = []
    undone = True
    try:
        yield answers
        undone = terms.dry_run
    finally:
        told = {each.number for each in answers if undone or isinstance(each.outcome, person_limits.Exceeded)}
        orders = [line.order for line in lines if line.number in told and isinstance(line.order, Order)]
        if whom := {order.beneficiary for order in orders if order.beneficiary}:
            with transaction() as session:
                access_log.looked_at(session, identities, whom)


def _require_whole(terms: Terms, since: datetime | None, answers: Sequence[Answer]) -> None:
    bad = [answer for answer in answers if isinstance(answer.outcome, Problem)]
    file_import.require_whole(terms, len(bad), len(answers), Taken(bad, since).told())


@contextmanager
def _told_where_interrupted(taken: Taken, lines: int) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        settled = len(taken.answers)
        logger().error("bulk_interrupted", lines_answered=settled, error=type(error).__name__)
        raise Unavailable(
            f"Interrupted after {settled} of {lines} lines, which are settled. Send the same again: nothing is granted"
            " twice.",
            headers={"Retry-After": "2"},
            lines_settled=settled,
        ) from error


def _grant_portion(session: Session, secrets: Secrets, lines: Sequence[Line], *, on_trial: bool) -> list[Answer]:
    orders = [line.order for line in lines if isinstance(line.order, Order)]
    outcomes = iter(granting.grant_all(session, secrets, orders))
    return [
        Answer(line.number, _made(next(outcomes), on_trial) if isinstance(line.order, Order) else line.order)
        for line in lines
    ]


def _made(outcome: Granted | Problem, on_trial: bool) -> Made | Problem:
    if isinstance(outcome, Problem):
        return outcome
    is_new = not outcome.already
    return Made(None if on_trial and is_new else outcome.grant.id, outcome.grant.amount_cents, outcome.already)


def _once(lines: Sequence[Line], origin: str | None) -> Iterator[Line]:
    """The lines, each with a reference of its own."""
    seen: dict[tuple[UUID, str], int] = {}
    for line in lines:
        try:
            yield line if isinstance(line.order, Problem) else _referred(line, line.order, origin, seen)
        except Problem as problem:
            yield Line(line.number, problem)


def _referred(line: Line, order: Order, origin: str | None, seen: dict[tuple[UUID, str], int]) -> Line:
    reference = order.reference or (f"{origin}/{line.number}" if origin else None)
    if reference is None:
        raise Invalid(
            "Give the line a reference, or the request an Idempotency-Key: else it could be granted twice.",
            slug="reference-missing",
        )
    first = seen.setdefault((order.prescriber_id, reference), line.number)
    if first != line.number:
        raise Conflict(f"Line {first} has the same reference.", slug="reference-repeated")
    return Line(line.number, replace(order, reference=reference))
