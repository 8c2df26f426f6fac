"""Rows by their key, for those who have to answer that there is none."""

from typing import Any, TypeVar

from sqlalchemy.orm import Session

from shared.problems import NotFound

_M = TypeVar("_M")


def get_or_404(session: Session, model: type[_M], key: Any, detail: str, *, lock: bool = False) -> _M:
    """The row of this primary key, as it is now and locked until the transaction ends if requested.

    Raises NotFound, which says `detail`.
    """
    found = session.get(model, key, with_for_update=lock or None, populate_existing=lock)
    if found is None:
        raise NotFound(detail)
    return found
