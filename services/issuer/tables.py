"""The issuer's tables. Money is integer cents of EUR, instants are UTC, days are days in Paris."""

from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase

from shared.database import engine


class Base(DeclarativeBase):
    """The declarative base of the issuer."""

    metadata = engine.metadata()
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: sa.Text,
        list[str]: pg.ARRAY(sa.Text),
        datetime: sa.DateTime(timezone=True),
        dict[str, Any]: pg.JSONB(none_as_null=True),
    }
