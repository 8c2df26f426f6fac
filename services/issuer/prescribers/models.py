"""The tables of prescribers and of the files that they were imported from."""

from services.issuer.tables import Base
from shared.files.file_import import FileColumns
from shared.places.importer import PlaceColumns


class Prescriber(PlaceColumns, Base):
    """A place that grants cheques, as a file of the national schema describes it."""

    __tablename__ = "prescriber"


class PrescriberImport(FileColumns, Base):
    """An imported file of prescribers, recognised by its SHA-256."""

    __tablename__ = "prescriber_import"
