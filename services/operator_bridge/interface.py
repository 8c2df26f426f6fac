"""The operator port: everything that an adapter provides.

An adapter is one module of `services.operator_bridge.operators` with one class `Adapter(Operator)`; the module's name
is the operator's code. It has no business rule and no database, and gets its settings `OPERATOR_<CODE>_<NAME>` by their
names alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import ClassVar, Literal
from uuid import UUID

from shared.values import clock

KINDS = ("register", "activate", "declare", "reverse", "cancel", "block", "unblock", "affiliate", "suspend")
"""What can be ordered: of a cheque, of a redemption (`declare`, `reverse`), of a training structure (the last two)."""


class OperatorFailure(Exception):
    """A call brought no answer, or none that is of use."""


class OperatorUnavailable(OperatorFailure):
    """The operator did nothing of the request: try again, in `retry_after` seconds if it is set."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class OperatorRefused(OperatorFailure):
    """The operator will never take this; as an answer to several orders, at least one of them is the cause."""


class NoAnswer(OperatorFailure):
    """Something was sent and no answer came that can be read: it may have been done, or not."""


class UnknownOperator(Exception):
    """There is no adapter of this name."""


class BadSignature(Exception):
    """A message does not come from the operator, or not now."""


class Unreadable(OperatorFailure):
    """A message of the operator is not what its documentation says; the text names the member that is wrong."""


class UnknownKind(Unreadable):
    """A message or a line is of a kind that the adapter does not know: it is kept and shown, and nothing is done."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind}: a kind that this version does not know, so nothing is done: upgrade, or ask them.")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Order:
    """One order to the operator. Which members are there depends on the kind; amounts are cents of EUR."""

    reference: str
    """Ours, the same however often the order is sent."""
    kind: str
    contract: str
    """The contract's code."""
    cheque_id: UUID | None = None
    number: str | None = field(default=None, repr=False)
    """The operator's own number of the cheque, where it gave one."""
    code: str | None = field(default=None, repr=False)
    """The code in the person's hand, with `register` alone and never kept."""
    amount_cents: int = 0
    """What the cheque is worth, or what is declared."""
    valid_until: date | None = None
    structure_id: UUID | None = None
    siret: str | None = None
    name: str = ""
    starts_on: date | None = None
    ends_on: date | None = None
    redemption: str | None = None
    """With `reverse`: what the operator knows the redemption by."""
    redeemed_at: datetime | None = None
    reason: str = ""
    payment_order: str | None = None
    """With `activate`: the number of the payment order (mandat) with which the cheque was paid for."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The operator's answer to one order, at once or later: also a normalised event and a line of a statement."""

    reference: str
    outcome: Literal["accepted", "refused", "unknown"]
    """`accepted` (a duplicate of what was accepted before is that too), `refused` with its reason, or `unknown`."""
    reason: str | None = None
    number: str | None = field(default=None, repr=False)
    """The number that the operator gives the cheque, if it does."""


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A cheque was spent at the operator's own till."""

    reference: str
    """The operator's, one per redemption for ever."""
    cheque_id: UUID
    structure_id: UUID
    amount_cents: int
    redeemed_at: datetime


@dataclass(frozen=True, slots=True)
class Paid:
    """The operator paid redemptions, each by the reference that it knows: our order's, or its own."""

    payment_reference: str
    paid_on: date
    redemptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChequeStatus:
    """A cheque as the operator has it now: a line of a statement."""

    cheque_id: UUID
    status: Literal["registered", "blocked", "cancelled", "redeemed"]
    value_cents: int
    redeemed_cents: int = 0


@dataclass(frozen=True, slots=True)
class UnknownLine:
    """A line of a statement of a kind that the adapter does not know: one of each is kept, and the others are read."""

    kind: str
    content: str


Event = Receipt | Redeemed | Paid
Line = Event | ChequeStatus | UnknownLine


@dataclass(frozen=True, slots=True)
class NumberedCheque:
    """A cheque that an operator has according to our register, with the operator's number and its value in cents."""

    cheque_id: UUID
    number: str = field(repr=False)
    value_cents: int


@dataclass(frozen=True, slots=True)
class Period:
    """The request for a statement."""

    contract: str
    since: datetime | None = None
    """Only what changed from then on; None is everything from the start of the contract."""
    unsettled: Sequence[Order] = ()
    """The orders of unknown outcome, without codes, for an operator that answers one by one."""
    cheques: Iterable[NumberedCheque] = ()
    """With `by_status` alone: the cheques whose status is requested, one by one; read once, as a stream."""


class Operator:
    """The base of every adapter; class attributes are what the operator can do."""

    name: ClassVar[str] = ""
    """As people write it."""
    required: ClassVar[tuple[str, ...]] = ()
    """The names of its settings."""
    optional: ClassVar[Mapping[str, str]] = {}
    """Settings that may be left out, with their values then."""
    supported_orders: ClassVar[frozenset[str]] = frozenset(KINDS)
    """The kinds of order that it understands; no other is made for it."""
    needs_codes: ClassVar[bool] = True
    """Whether it needs the code to register a cheque."""
    supplies_codes: ClassVar[bool] = False
    """Whether it gives cheques numbers of its own."""
    activates: ClassVar[bool] = False
    """Whether a cheque can be spent with it only once it has, by `activate`, the number of the payment order."""
    own_till: ClassVar[bool] = False
    """Whether cheques can be spent with it directly."""
    paid_by_accountant: ClassVar[bool] = False
    """Whether what it owes the structures is paid by our own accountant, so that a typed payment is its own."""
    has_statement: ClassVar[bool] = True
    by_status: ClassVar[bool] = False
    """Whether, without a statement, it answers with the status of each cheque (`Period.cheques`)."""
    statement_lag: ClassVar[timedelta] = timedelta(seconds=60)
    """How long after the sending a completed order is sure to be reported."""
    batch_size: ClassVar[int] = 100
    """How many orders one call takes."""
    rate: ClassVar[float] = 5.0
    """How many times a second `push` may be called, by all workers together."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = settings

    def push(self, orders: Sequence[Order]) -> Iterable[Receipt]:
        """Sends at most `batch_size` orders and gives receipts as they come.

        Of one cheque or structure there is never more than one, so their order does not matter. An order without a
        receipt at the end is unknown. Raises OperatorUnavailable or OperatorRefused where nothing was done but what
        receipts were given for, unknown ones included; NoAnswer where that is not sure.
        """
        raise NotImplementedError

    def parse(self, headers: Mapping[str, str], body: bytes) -> list[Event]:
        """Checks a message and reads it; raises BadSignature or Unreadable."""
        self.verify(headers, body)
        return self.read(body)

    def verify(self, headers: Mapping[str, str], body: bytes) -> str:
        """Checks the signature on the raw bytes and the time window, and gives the message's own id.

        Raises BadSignature. Apart from `read`, as a message is verified when it comes and read when it is stored.
        """
        raise BadSignature("This operator sends no messages.")

    def read(self, body: bytes) -> list[Event]:
        """What a verified message says: nothing where it is of a kind that is known and does not concern us.

        Raises UnknownKind where the adapter does not know its kind, Unreadable where it makes no sense.
        """
        raise Unreadable("This operator sends no messages.")

    def fetch(self, period: Period) -> Iterator[Line]:
        """Streams the statement, with a receipt for each order in `Period.unsettled` that was done.

        Raises OperatorUnavailable or NoAnswer; Unreadable at the end, after every line that can be read. A line of an
        unknown kind is an UnknownLine.
        """
        return iter(())

    def statement_date(self, contract: str) -> datetime | None:
        """The instant of the cheques' statuses on a statement fetched now; None where there is no statement yet."""
        return clock.now()
