"""Grants by the thousand: in portions, each in a transaction of its own, answered line by line.

A line is granted once. Its reference says which one it is: its own, or one made from the request's origin and the
line's number. So what was cut off half way is sent again as it was, and goes on where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from services.issuer import granting
from services.issuer.issuing import Granted, Secrets
from services.issuer.orders import Order
from shared.logs import logger
from shared.problems import Conflict, Invalid, Problem, Unavailable

_PORTION = 500


@dataclass(frozen=True, slots=True)
class Line:
    """A line and its order, or what is wrong with it."""

    number: int
    order: Order | Problem


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a line."""

    number: int
    outcome: Granted | Problem


def grant_lines(
    transaction: Callable[[], AbstractContextManager[Session]],
    secrets: Secrets,
    lines: Sequence[Line],
    origin: str | None,
) -> list[Answer]:
    """Grants the good lines, in their order. `origin` names the request, None where it may not be repeated.

    Raises Unavailable where the database went away: what was granted stays granted.
    """
    ready = list(_once(lines, origin))
    answers: list[Answer] = []
    try:
        for at in range(0, len(ready), _PORTION):
            with transaction() as session:
                granted = _grant_portion(session, secrets, ready[at : at + _PORTION])
            answers += granted
    except (DBAPIError, PoolTimeout) as error:
        logger().error("bulk_interrupted", lines_answered=len(answers), error=type(error).__name__)
        raise Unavailable(
            f"Interrupted after {len(answers)} of {len(lines)} lines, which are settled. Send the same again: nothing"
            " is granted twice.",
            headers={"Retry-After": "2"},
            lines_settled=len(answers),
        ) from error
    return answers


def _grant_portion(session: Session, secrets: Secrets, lines: Sequence[Line]) -> list[Answer]:
    orders = [line.order for line in lines if isinstance(line.order, Order)]
    outcomes = iter(granting.grant_all(session, secrets, orders))
    return [Answer(line.number, next(outcomes) if isinstance(line.order, Order) else line.order) for line in lines]


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
