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
from shared.database import engine
from shared.eventlog.event_kinds import ContractChanged, StructureAffiliated, StructureDescribed, StructureSuspended
from shared.eventlog.log import Event

NEAREST = 6

# Great-circle distance in km. Where coordinates are missing, the same postcode counts as near and the same département
# as far; what is in neither is left out. Départements are the first two characters of a postcode, three overseas.
# Whoever says that it offers what a programme pays for comes first: files name services each in their way, so one that
# does not say so may still do.
_NEAREST = sa.text("""
    SELECT input.prescriber_id, input.programme_id, nearest.*
    FROM unnest(CAST(:prescriber_ids AS uuid[]), CAST(:programme_ids AS uuid[])) AS input (prescriber_id, programme_id)
    JOIN prescriber ON prescriber.id = input.prescriber_id
    JOIN programme ON programme.id = input.programme_id
    CROSS JOIN LATERAL (
        SELECT structure.name, structure.address, structure.postcode, structure.commune, structure.phone, distance.km
        FROM training_structure AS structure
        CROSS JOIN LATERAL (
            SELECT CASE WHEN structure.latitude + structure.longitude + prescriber.latitude + prescriber.longitude
                             IS NOT NULL THEN
                12742 * asin(sqrt(least(1,
                    power(sin(radians(structure.latitude - prescriber.latitude) / 2), 2)
                    + cos(radians(prescriber.latitude)) * cos(radians(structure.latitude))
                    * power(sin(radians(structure.longitude - prescriber.longitude) / 2), 2)))) END AS km,
                substr(structure.postcode, 1, CASE WHEN structure.postcode LIKE '97%' THEN 3 ELSE 2 END)
                = substr(prescriber.postcode, 1, CASE WHEN prescriber.postcode LIKE '97%' THEN 3 ELSE 2 END)
                    AS same_department
        ) AS distance
        WHERE NOT structure.suspended
              AND (distance.km IS NOT NULL OR distance.same_department)
              AND EXISTS (
                  SELECT FROM structure_affiliation AS affiliation
                  JOIN operator_contract AS contract ON contract.id = affiliation.contract_id
                  WHERE affiliation.structure_id = structure.id AND contract.programme = programme.code
                        AND affiliation.starts_on <= :today AND coalesce(affiliation.ends_on, 'infinity') >= :today
              )
              AND (programme.territory = '{}' OR EXISTS (
                  SELECT FROM unnest(programme.territory) AS beginning
                  WHERE starts_with(structure.postcode, beginning) OR starts_with(structure.insee_code, beginning)
              ))
        ORDER BY EXISTS (
                SELECT FROM unnest(programme.services) AS wanted, unnest(structure.services) AS offered
                WHERE lower(wanted) = lower(offered)
            ) DESC,
            coalesce(distance.km, CASE WHEN structure.postcode = prescriber.postcode THEN 3 ELSE 40 END),
            structure.name, structure.id
        LIMIT :nearest
    ) AS nearest
""")

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
