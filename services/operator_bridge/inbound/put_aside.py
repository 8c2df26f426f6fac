"""Nothing that arrives holds up what came behind it: what cannot be applied is put aside, alone, for a person to see.

The table of messages keeps it with its error and is never pruned of it; `souche_unapplied_messages` counts it.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled, SerializationFailure
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from services.operator_bridge.interface import Unreadable
from services.operator_bridge.register.models import Contract, Message
from shared.observability.logs import logger
from shared.process.runtime import TimeIsUp
from shared.values import cheque_code

_T = TypeVar("_T")
_MAX_ERROR_LENGTH = 300
_MAX_BYTES = 64 * 1024
# What is quoted in an error may be a value, and a value may be anything.
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
# Others stood in the way, or the database was slow: worth another try, and no fault of what was applied.
_IN_THE_WAY = (DeadlockDetected, LockNotAvailable, QueryCanceled, SerializationFailure)
# Classes of SQLSTATE that say that the database is not there or not well, whatever it was asked.
_DATABASE_ILL = ("08", "53", "57", "58", "XX")


def apply_each(
    items: Sequence[_T], apply: Callable[[Sequence[_T]], None], put_aside: Callable[[_T, Exception], None]
) -> None:
    """Applies items together, each time in a transaction of `apply`; where that fails, halves find which one fails.

    That one is put aside and all others are applied; where the database only was too slow or others had its rows, it is
    left to be tried again. Raises what says nothing about the items: the database is away, or the worker's time is up.
    """
    if not items:
        return
    try:
        apply(items)
    except (TimeIsUp, PoolTimeout):
        raise
    except Exception as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        in_the_way = isinstance(cause, _IN_THE_WAY)
        if _is_of_database(cause) and not in_the_way:
            raise
        if len(items) > 1:
            middle = len(items) // 2
            apply_each(items[:middle], apply, put_aside)
            apply_each(items[middle:], apply, put_aside)
        elif in_the_way:
            logger().warning("left_for_later", error=type(cause).__name__)
        else:
            put_aside(items[0], error)


def describe(error: Exception) -> str:
    """An error as it may be kept and logged: its class and its first line, without values that were quoted in it."""
    if isinstance(error, Unreadable):
        return str(error)  # adapters name the member, and repeat no value
    cause = error.orig if isinstance(error, DBAPIError) else error
    line = _QUOTED.sub("…", cheque_code.mask(str(cause).strip().partition("\n")[0]))
    plain = "".join(character for character in line if character.isprintable())
    return f"It cannot be applied: {type(cause).__name__}: {plain}"[:_MAX_ERROR_LENGTH]


def keep_line(session: Session, contract: Contract, kind: str, content: str, error: Exception) -> None:
    """Keeps a line of a contract's statement that was not applied as a message that was put aside, once.

    Lines of an unknown `kind` are kept once for all, by the first of them: the statement still has the others.
    """
    name = kind or hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()
    reason = describe(error)
    row = {
        "operator": contract.operator,
        "webhook_id": f"statement:{contract.code}:{name}",
        "headers": {"contract": contract.code},
        "body": cheque_code.mask(content).encode("utf-8", "replace")[:_MAX_BYTES],
        "error": reason,
    }
    if session.execute(pg.insert(Message).values(row).on_conflict_do_nothing().returning(Message.message_id)).first():
        logger().error("line_put_aside", contract=contract.code, operator=contract.operator, error=reason)


def _is_of_database(cause: BaseException | None) -> bool:
    """Whether an error says that the database is not there or not well: nothing can be kept of anything then."""
    if isinstance(cause, psycopg.InterfaceError):
        return True
    if not isinstance(cause, psycopg.OperationalError):
        return False
    return cause.sqlstate is None or cause.sqlstate.startswith(_DATABASE_ILL)
