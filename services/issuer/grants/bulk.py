"""Grants by the thousand, answered line by line: in batches, each in its own transaction, or all or nothing in one.

A line is granted once, under its own reference or one made from the request's origin and the line's number. So a
request that was interrupted can be sent again as it was: it continues where it stopped.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from services.issuer.grants import granting
from services.issuer.grants.issuing import IssuedGrant, Secrets
from services.issuer.grants.models import GrantImport
from services.issuer.grants.requests import GrantRequest
from services.issuer.people import access_log
from services.issuer.people.identities import Identities
from services.issuer.programmes import person_limits
from shared.files import file_import
from shared.files.file_import import ImportOptions
from shared.observability.logs import logger
from shared.problems import Conflict, Invalid, Problem, Unavailable

BATCH_SIZE = 500
# In one transaction this many people and references are locked until its end, and an envelope while it commits.
MAX_ALL_OR_NOTHING = 2_000

Transactions = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True, slots=True)
class Line:
    """A numbered line: its request, or the problem that makes it unreadable."""

    number: int
    request: GrantRequest | Problem


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """The result of a line: a grant (without an id where a trial made it), or the problem that refused it."""

    number: int
    problem: Problem | None = None
    grant_id: UUID | None = None
    amount_cents: int = 0
    already: bool = False

    def payload(self) -> dict[str, Any]:
        """The answer, JSON-ready."""
        if self.problem:
            return {"line": self.number, "problem": self.problem.body()}
        named = {"grant_id": str(self.grant_id)} if self.grant_id else {}
        return {"line": self.number, **named, "amount_cents": self.amount_cents, "already": self.already}


@dataclass(slots=True)
class BulkReport:
    """The answers of all lines, and when the same file was imported before."""

    answers: list[LineAnswer]
    already_imported_at: datetime | None = None

    def payload(self) -> dict[str, Any]:
        """The report, JSON-ready: counts, the newly granted cents, and the answer of each line."""
        accepted = [answer for answer in self.answers if answer.problem is None]
        return {
            "already_imported_at": self.already_imported_at and self.already_imported_at.isoformat(),
            "accepted": len(accepted),
            "refused": len(self.answers) - len(accepted),
            "amount_cents": sum(answer.amount_cents for answer in accepted if not answer.already),
            "lines": [answer.payload() for answer in self.answers],
        }


def grant_lines(
    transaction: Transactions,
    secrets: Secrets,
    lines: Sequence[Line],
    origin: str | None,
    digest: str,
    options: ImportOptions,
) -> BulkReport:
    """The report of the good lines, granted in their order; on all-or-nothing terms only if every line is good.

    `origin` identifies the HTTP request, None where it has no Idempotency-Key; `digest` identifies the file. Raises
    Invalid where too many lines are all or nothing, and Unavailable where the database connection broke: what was
    granted stays granted.
    """
    lines = list(_with_references(lines, origin))
    if options.all_or_nothing and len(lines) > MAX_ALL_OR_NOTHING:
        raise Invalid(
            f"At most {MAX_ALL_OR_NOTHING} lines can be all or nothing; these are {len(lines)}.", slug="too-many-lines"
        )
    # A trial is one batch too: a second one would count on money that the first did not really take.
    size = BATCH_SIZE if options == ImportOptions() else max(len(lines), 1)
    report = BulkReport([])
    with _unavailable_where_interrupted(report, len(lines)):
        for start in range(0, len(lines), size):
            batch = lines[start : start + size]
            audited = _audited_disclosures(transaction, secrets.identities, batch, options)
            with audited as answers, transaction() as session, file_import.taking(session, options):
                if start == 0:
                    report.already_imported_at = file_import.first_imported_at(session, digest, GrantImport)
                answers += _grant_batch(session, secrets, batch, on_trial=options.dry_run)
                bad = [answer for answer in answers if answer.problem]
                so_far = BulkReport(bad, report.already_imported_at)
                file_import.require_whole(options, len(bad), len(answers), so_far.payload())
            report.answers += answers
    return report


@contextmanager
def _audited_disclosures(
    transaction: Transactions, identities: Identities, lines: Sequence[Line], options: ImportOptions
) -> Iterator[list[LineAnswer]]:
    """Audits the people to whom nothing was granted: the block's answers disclose their remaining entitlement.

    In a transaction of its own, as the block's may be rolled back while its answers are sent all the same.
    """
    answers: list[LineAnswer] = []
    undone = True
    try:
        yield answers
        undone = options.dry_run
    finally:
        disclosed = {
            answer.number for answer in answers if undone or isinstance(answer.problem, person_limits.Exceeded)
        }
        people = {
            line.request.beneficiary
            for line in lines
            if line.number in disclosed and isinstance(line.request, GrantRequest) and line.request.beneficiary
        }
        if people:
            with transaction() as session:
                access_log.record_assessed(session, identities, people)


@contextmanager
def _unavailable_where_interrupted(report: BulkReport, lines: int) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        settled = len(report.answers)
        logger().error("bulk_interrupted", lines_answered=settled, error=type(error).__name__)
        raise Unavailable(
            f"Interrupted after {settled} of {lines} lines, which are settled. Send the same again: nothing is granted"
            " twice.",
            headers={"Retry-After": "2"},
            lines_settled=settled,
        ) from error


def _grant_batch(session: Session, secrets: Secrets, lines: Sequence[Line], *, on_trial: bool) -> list[LineAnswer]:
    requests = [line.request for line in lines if isinstance(line.request, GrantRequest)]
    results = iter(granting.grant_all(session, secrets, requests))
    return [
        _answer(line.number, next(results) if isinstance(line.request, GrantRequest) else line.request, on_trial)
        for line in lines
    ]


def _answer(number: int, result: IssuedGrant | Problem, on_trial: bool) -> LineAnswer:
    if isinstance(result, Problem):
        return LineAnswer(number, result)
    grant, already = result.grant, result.already
    return LineAnswer(number, None, None if on_trial and not already else grant.id, grant.amount_cents, already)


def _with_references(lines: Iterable[Line], origin: str | None) -> Iterator[Line]:
    """The lines, each with a reference of its own, or with the problem of a missing or repeated one."""
    first_lines: dict[tuple[UUID, str], int] = {}
    for line in lines:
        request = line.request
        if isinstance(request, GrantRequest):
            request = _with_reference(line.number, request, origin, first_lines)
        yield Line(line.number, request)


def _with_reference(
    number: int, request: GrantRequest, origin: str | None, first_lines: dict[tuple[UUID, str], int]
) -> GrantRequest | Problem:
    reference = request.reference or (f"{origin}/{number}" if origin else None)
    if reference is None:
        return Invalid(
            "Give the line a reference, or the request an Idempotency-Key: else it could be granted twice.",
            slug="reference-missing",
        )
    first = first_lines.setdefault((request.prescriber_id, reference), number)
    if first != number:
        return Conflict(f"Line {first} has the same reference.", slug="reference-repeated")
    return replace(request, reference=reference)
