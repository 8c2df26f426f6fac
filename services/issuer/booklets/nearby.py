"""Where the cheques of a programme are taken near a prescriber: a mirror of what the redeemer and the bridge tell.

The redeemer tells of structures and affiliations in their order, the bridge of contracts at any time before or after;
neither needs the other's rows. A structure that is suspended is not shown; one that is taken back is told of again.
What was told before the mirror existed is not in it: until then, the list is short or empty.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from services.issuer.booklets.models import OperatorContract, StructureAffiliation, TrainingStructure
from services.issuer.tables import Base
from shared.database import engine
from shared.eventlog.consumer import Handler
from shared.eventlog.event_kinds import ContractChanged, StructureAffiliated, StructureDescribed, StructureSuspended
from shared.eventlog.log import Event

NEAREST = 6

# Great-circle distance in km. Where coordinates are missing, the same postcode counts as near and the same département
# as far; what is in neither is left out. Départements are the first two characters of a postcode, three overseas.
# Whoever says that it offers what a programme pays for comes first: files name services each in their way, so one that
# does not say so may still do.
_NEAREST = sa.text("""
    SELECT asked.prescriber_id, asked.programme_id, near.*
    FROM unnest(CAST(:prescribers AS uuid[]), CAST(:programmes AS uuid[])) AS asked (prescriber_id, programme_id)
    JOIN prescriber here ON here.id = asked.prescriber_id
    JOIN programme ON programme.id = asked.programme_id
    CROSS JOIN LATERAL (
        SELECT there.name, there.address, there.postcode, there.commune, there.phone, away.km
        FROM training_structure there
        CROSS JOIN LATERAL (
            SELECT CASE WHEN there.latitude + there.longitude + here.latitude + here.longitude IS NOT NULL THEN
                12742 * asin(sqrt(least(1,
                    power(sin(radians(there.latitude - here.latitude) / 2), 2)
                    + cos(radians(here.latitude)) * cos(radians(there.latitude))
                    * power(sin(radians(there.longitude - here.longitude) / 2), 2)))) END AS km,
                substr(there.postcode, 1, CASE WHEN there.postcode LIKE '97%' THEN 3 ELSE 2 END)
                = substr(here.postcode, 1, CASE WHEN here.postcode LIKE '97%' THEN 3 ELSE 2 END) AS same_department
        ) away
        WHERE NOT there.suspended
              AND (away.km IS NOT NULL OR away.same_department)
              AND EXISTS (
                  SELECT FROM structure_affiliation affiliation
                  JOIN operator_contract contract ON contract.id = affiliation.contract_id
                  WHERE affiliation.structure_id = there.id AND contract.programme = programme.code
                        AND affiliation.starts_on <= :today AND coalesce(affiliation.ends_on, 'infinity') >= :today
              )
              AND (programme.territory = '{}' OR EXISTS (
                  SELECT FROM unnest(programme.territory) beginning
                  WHERE starts_with(there.postcode, beginning) OR starts_with(there.insee_code, beginning)
              ))
        ORDER BY EXISTS (
                SELECT FROM unnest(programme.services) wanted, unnest(there.services) offered
                WHERE lower(wanted) = lower(offered)
            ) DESC,
            coalesce(away.km, CASE WHEN there.postcode = here.postcode THEN 3 ELSE 40 END), there.name, there.id
        LIMIT :nearest
    ) near
""")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A place where cheques are taken, and how far it is; what is not known is None."""

    name: str
    address: str | None
    postcode: str | None
    commune: str | None
    phone: str | None
    km: float | None


Pair = tuple[UUID, UUID]
"""A prescriber and a programme."""


def nearest(session: Session, pairs: Collection[Pair], today: date) -> dict[Pair, list[Neighbour]]:
    """For each prescriber and programme, the nearest structures that take its cheques on this day, nearest first."""
    asked = sorted(set(pairs))
    found: dict[Pair, list[Neighbour]] = {pair: [] for pair in asked}
    given = {
        "prescribers": [prescriber for prescriber, _ in asked],
        "programmes": [programme for _, programme in asked],
        "today": today,
        "nearest": NEAREST,
    }
    for prescriber, programme, *place in session.execute(_NEAREST, given):
        found[prescriber, programme].append(Neighbour(*place))
    return found


def affiliated(session: Session, run: Sequence[Event[StructureAffiliated]]) -> None:
    """Keeps structures and what they are affiliated to; who is told of is not suspended."""
    bodies = [event.body for event in run]
    _keep_structures(session, bodies, suspended=False)
    keys = ("structure_id", "contract_id", "starts_on")
    last = {(body.structure_id, body.contract_id, body.starts_on): body for body in bodies}
    rows = [{key: getattr(body, key) for key in (*keys, "ends_on")} for body in last.values()]
    _keep(session, StructureAffiliation, rows, keys)


def described(session: Session, run: Sequence[Event[StructureDescribed]]) -> None:
    """Keeps what changed about structures that were told of before."""
    _keep_structures(session, [event.body for event in run])


def suspended(session: Session, run: Sequence[Event[StructureSuspended]]) -> None:
    """Leaves structures out until they are told of again."""
    ids = [event.body.structure_id for event in run]
    session.execute(sa.update(TrainingStructure).where(engine.among(TrainingStructure.id, ids)).values(suspended=True))


def contract_changed(session: Session, run: Sequence[Event[ContractChanged]]) -> None:
    """Keeps which programme each contract is for."""
    last = {event.body.contract_id: event.body.programme for event in run}
    rows = [{"id": contract_id, "programme": programme} for contract_id, programme in last.items()]
    _keep(session, OperatorContract, rows, ("id",))


HANDLERS: Mapping[str, Handler] = {
    "structure.affiliated": affiliated,
    "structure.described": described,
    "structure.suspended": suspended,
    "contract.changed": contract_changed,
}

_TOLD = ("name", "address", "postcode", "commune", "insee_code", "latitude", "longitude", "services", "phone")


def _keep_structures(
    session: Session, bodies: Iterable[StructureAffiliated | StructureDescribed], **members: Any
) -> None:
    """The last word on each structure; a message from before places were told of does not take one away."""
    last: dict[UUID, dict[str, Any]] = {}
    for body in bodies:
        earlier = last.get(body.structure_id, {})
        told = {name: getattr(body, name) for name in _TOLD}
        last[body.structure_id] = told if body.postcode or not earlier else earlier
    whole = [row for row in last.items() if row[1]["postcode"]]
    bare = [row for row in last.items() if not row[1]["postcode"]]
    for rows, names in ((whole, _TOLD), (bare, ("name",))):
        kept = [{"id": structure_id} | row | members for structure_id, row in rows]
        _keep(session, TrainingStructure, kept, ("id",), (*names, *members))


def _keep(
    session: Session,
    table: type[Base],
    rows: Sequence[Mapping[str, Any]],
    keys: Collection[str],
    changing: Collection[str] | None = None,
) -> None:
    """Adds rows, or brings those of the same keys up to date in these columns (all others, if none are named)."""
    if not rows:
        return
    given = pg.insert(table)
    names = rows[0].keys() - set(keys) if changing is None else changing
    changes = {name: given.excluded[name] for name in names}
    session.execute(given.on_conflict_do_update(index_elements=list(keys), set_=changes), list(rows))
