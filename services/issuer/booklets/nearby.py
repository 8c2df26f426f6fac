"""Where the cheques of a programme are accepted near a prescriber: a mirror of the redeemer's and the bridge's events.

Structures and affiliations come from the redeemer in their order, contracts from the bridge at any time before or
after; neither needs the other's rows. What was published before the mirror existed is not in it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.booklets.models import OperatorContract, StructureAffiliation, TrainingStructure
from services.issuer.tables import Base
from shared.database import engine, sql_files
from shared.eventlog.event_kinds import ContractChanged, StructureAffiliated, StructureDescribed, StructureSuspended
from shared.eventlog.log import Event

NEAREST = 6

_NEAREST = sa.text(sql_files.load(__file__, "nearest.sql"))

Pair = tuple[UUID, UUID]
"""A prescriber and a programme."""


def nearest(session: Session, pairs: Collection[Pair], today: date) -> dict[Pair, list[sa.Row[Any]]]:
    """For each pair, the nearest structures that accept the programme's cheques on this day, nearest first.

    A structure has a name, address, postcode, commune, phone, and its distance in km; None where these are unknown.
    """
    found: dict[Pair, list[sa.Row[Any]]] = {pair: [] for pair in sorted(set(pairs))}
    arrays = engine.arrays(("prescriber_ids", "programme_ids"), found)
    for row in session.execute(_NEAREST, {**arrays, "today": today, "nearest": NEAREST}):
        found[row.prescriber_id, row.programme_id].append(row)
    return found


def affiliated(session: Session, run: Sequence[Event[StructureAffiliated]]) -> None:
    """Stores structures and what they are affiliated to; they are not suspended."""
    bodies = [event.body for event in run]
    _keep_structures(session, bodies, suspended=False)
    keys = ("structure_id", "contract_id", "starts_on")
    rows = [{name: getattr(body, name) for name in (*keys, "ends_on")} for body in bodies]
    _keep(session, StructureAffiliation, rows, keys, ("ends_on",))


def described(session: Session, run: Sequence[Event[StructureDescribed]]) -> None:
    """Stores what changed about structures."""
    _keep_structures(session, [event.body for event in run])


def suspended(session: Session, run: Sequence[Event[StructureSuspended]]) -> None:
    """Leaves structures out until they are published again."""
    ids = [event.body.structure_id for event in run]
    session.execute(sa.update(TrainingStructure).where(engine.among(TrainingStructure.id, ids)).values(suspended=True))


def contract_changed(session: Session, run: Sequence[Event[ContractChanged]]) -> None:
    """Stores which programme a contract is for."""
    rows = [{"id": event.body.contract_id, "programme": event.body.programme} for event in run]
    _keep(session, OperatorContract, rows, ("id",), ("programme",))


_DESCRIPTION = ("name", "address", "postcode", "commune", "insee_code", "latitude", "longitude", "services", "phone")


def _keep_structures(
    session: Session, bodies: Iterable[StructureAffiliated | StructureDescribed], **members: Any
) -> None:
    """The last description of each structure; a message from before places were published does not take one away."""
    last: dict[UUID, dict[str, Any]] = {}
    for body in bodies:
        if body.postcode or body.structure_id not in last:
            description = {name: getattr(body, name) for name in _DESCRIPTION}
            last[body.structure_id] = {"id": body.structure_id, **description, **members}
    for names, with_place in ((_DESCRIPTION, True), (("name",), False)):
        rows = [row for row in last.values() if bool(row["postcode"]) is with_place]
        _keep(session, TrainingStructure, rows, ("id",), (*names, *members))


def _keep(
    session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]], keys: Sequence[str], changing: Sequence[str]
) -> None:
    """Adds rows, or updates these columns of those with the same keys; the last of several rows counts."""
    if not rows:
        return
    insert = pg.insert(table)
    changes = {name: insert.excluded[name] for name in changing}
    last = {tuple(row[key] for key in keys): row for row in rows}
    session.execute(insert.on_conflict_do_update(index_elements=keys, set_=changes), list(last.values()))
