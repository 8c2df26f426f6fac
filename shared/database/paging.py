"""Lists by cursor: newest rows last, each page says where the next begins."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from marshmallow import EXCLUDE, Schema, fields, validate
from sqlalchemy.orm import Session

MAX_LIMIT = 500


class PageQuery(Schema):
    """What a caller may say of a list: where to begin, and how much."""

    class Meta:
        unknown = EXCLUDE

    after = fields.UUID(load_default=None, metadata={"description": "`next` of the page before."})
    limit = fields.Int(load_default=100, validate=validate.Range(1, MAX_LIMIT))


def page_of(item: type[Schema]) -> type[Schema]:
    """The schema of a page of such items: `items`, and `next`, null on the last page."""
    members: dict[str, Any] = {
        "items": fields.List(fields.Nested(item), required=True),
        "next": fields.UUID(required=True, allow_none=True),
    }
    return Schema.from_dict(members, name=f"{item.__name__}Page")


def page(session: Session, query: sa.Select[Any], identifier: Any, after: UUID | None, limit: int) -> dict[str, Any]:
    """One page of an ORM query, in the order of its UUIDv7 identifier column."""
    if after is not None:
        query = query.where(identifier > after)
    found: Sequence[Any] = session.scalars(query.order_by(identifier).limit(limit + 1)).all()
    items = found[:limit]
    return {"items": items, "next": getattr(items[-1], identifier.key) if len(found) > limit else None}


def page_by(session: Session, entity: Any, query: Mapping[str, Any]) -> dict[str, Any]:
    """One page of the rows of a table whose columns equal the members of a `PageQuery`, where these are not None."""
    columns = {name: value for name, value in query.items() if name not in ("after", "limit") and value is not None}
    mapper = sa.inspect(entity)
    identifier = getattr(entity, mapper.get_property_by_column(mapper.primary_key[0]).key)
    return page(session, sa.select(entity).filter_by(**columns), identifier, query["after"], query["limit"])
