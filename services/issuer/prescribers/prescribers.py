"""Prescribers, taken in from a file of the national schema."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.prescribers.models import Prescriber, PrescriberImport
from shared.files.file_import import Terms
from shared.places import importer
from shared.places.importer import Report
from shared.problems import NotFound


def take_in(session: Session, content: bytes, terms: Terms) -> Report:
    """Adds and updates prescribers by their source's identifier; raises as `place_import.take_in` does."""
    return importer.take_in(session, content, terms, Prescriber, PrescriberImport)


def find(session: Session, prescriber_id: UUID) -> Prescriber:
    """A prescriber; raises NotFound."""
    found = session.get(Prescriber, prescriber_id)
    if found is None:
        raise NotFound("There is no such prescriber.")
    return found


def every() -> sa.Select[Any]:
    """The query of all prescribers."""
    return sa.select(Prescriber)
