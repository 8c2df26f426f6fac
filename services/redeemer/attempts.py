"""How often a structure tries codes that do not exist. Guessing codes is the attack; a mistyped one is not a guess.

The limit is read by the statement that judges, and counted afterwards, only where a code was unknown.
"""

from uuid import UUID

import sqlalchemy as sa

from shared import clock
from shared.problems import TooMany
from shared.runtime import Runtime

# One row per structure: of earlier minutes nothing needs to be known.
_COUNT = sa.text("""
    INSERT INTO attempt AS known (structure_id, minute, failures)
    VALUES (:structure, date_trunc('minute', CAST(:now AS timestamptz)), :failures)
    ON CONFLICT (structure_id) DO UPDATE SET minute = excluded.minute,
        failures = excluded.failures + CASE WHEN known.minute = excluded.minute THEN known.failures ELSE 0 END
    RETURNING failures
""")


def count(runtime: Runtime, structure_id: UUID, failures: int) -> None:
    """Counts codes that were not found; raises TooMany where others at the same time had used the limit up."""
    with runtime.transaction() as session:
        total = session.execute(
            _COUNT, {"structure": structure_id, "now": clock.now(), "failures": failures}
        ).scalar_one()
    if total - failures >= runtime.settings.attempts_per_minute:
        raise too_many()


def too_many() -> TooMany:
    """The problem of a structure that is over its limit, until the minute is over."""
    return TooMany(
        "Too many unknown codes were tried. Wait a moment, and have the code read out again.",
        slug="too-many-attempts",
        headers={"Retry-After": str(60 - clock.now().second)},
    )
