"""The last word on a convention and on an envelope is the one that the database took last, whatever the clocks say."""

import multiprocessing
from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

from services.issuer.funding import conventions, envelopes
from shared.process.runtime import Runtime
from shared.settings.settings import load
from shared.values import ids
from souche.verify import ledgers
from tests.issuer.office import Office

_TWO_MINUTES_MS = 120_000


def _later(make: Callable[[], UUID]) -> UUID:
    return UUID(int=make().int + (_TWO_MINUTES_MS << 80))


def speak_first(environ: Mapping[str, str], convention_id: UUID, envelope_id: UUID) -> None:
    """Another process of the issuer, whose clock is two minutes fast: so are the ids that it makes."""
    vars(ids)["uuid7"] = partial(_later, vars(ids)["uuid7"])
    with Runtime(load("issuer", environ)).transaction() as session:
        conventions.amend(session, convention_id, {"amount_cents": 300_000}, "The first word.", "fast")
        envelopes.set_amount(session, envelope_id, 250_000, "The first word.", "fast")


def test_of_two_processes_whose_clocks_differ_the_later_has_the_last_word(office: Office) -> None:
    envelope_id = UUID(office.envelope(100_000))
    with office.service.runtime.transaction() as session:
        convention_id = envelopes.find(session, envelope_id).convention_id
    fast = multiprocessing.get_context("fork").Process(
        target=speak_first, args=(office.service.environ, convention_id, envelope_id)
    )
    fast.start()
    fast.join()
    assert fast.exitcode == 0
    with office.service.runtime.transaction() as session:
        envelopes.set_amount(session, envelope_id, 90_000, "The last word.", "right")
        conventions.amend(session, convention_id, {"amount_cents": 200_000}, "The last word.", "right")
    [shown] = office.report()["conventions"]
    assert (shown["amount_cents"], shown["envelopes_cents"]) == (200_000, 90_000)
    assert list(ledgers.faults(office.service.runtime.engine, ledgers.ISSUER)) == []
