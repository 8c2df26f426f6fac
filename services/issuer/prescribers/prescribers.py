"""Prescribers, taken in from a file of the national schema."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.issuer.prescribers.models import Prescriber, PrescriberImport
from shared.database.lookup import get_or_404
from shared.files.file_import import ImportOptions
from shared.places import importer
from shared.places.importer import Report


def take_in(session: Session, content: bytes, options: ImportOptions) -> Report:
    """The report of adding and updating prescribers by their source's identifier; raises as `importer.take_in` does."""
    return importer.take_in(session, content, options, Prescriber, PrescriberImport)


def find(session: Session, prescriber_id: UUID) -> Prescriber:
    """A prescriber; raises NotFound."""
    return get_or_404(session, Prescriber, prescriber_id, "There is no such prescriber.")


def every() -> sa.Select[Any]:
    """The query of all prescribers."""
    return sa.select(Prescriber)
