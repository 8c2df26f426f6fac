"""The temporary tables of a comparison: gone with it, however it ends."""

from uuid import UUID

import pytest

from demo.simulators.docaposte import Simulator
from services.operator_bridge.reconciliation import comparing, statement_loading
from tests.operator_bridge.conftest import Office
from tests.operator_bridge.reconciliation.differing import cheques, contract, reconcile

__all__ = ["cheques", "contract"]

_TEMPORARY = "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"


class Stopped(Exception):
    """The worker was told to stop."""


def temporary_tables(office: Office) -> int:
    """How many the next user of the pool finds: the pool hands out the connection that was used last."""
    ((number,),) = office.rows(_TEMPORARY)
    return int(number)


def test_a_comparison_leaves_no_temporary_table(office: Office, contract: UUID, cheques: list[UUID]) -> None:
    assert comparing.compare(office.bridge.runtime, contract).compared
    assert temporary_tables(office) == 0


def test_a_statement_that_breaks_off_leaves_no_temporary_table_and_the_next_comparison_works(
    office: Office, simulator: Simulator, contract: UUID, cheques: list[UUID]
) -> None:
    simulator.faults.order("malformed_statement", 1, 0)
    assert office.post(f"/v1/contracts/{contract}/comparison").status_code == 503
    assert temporary_tables(office) == 0
    assert reconcile(office, contract)["differences"] == {}


def test_a_comparison_that_is_stopped_in_the_middle_of_a_statement_leaves_no_temporary_table(
    office: Office, contract: UUID, cheques: list[UUID]
) -> None:
    with pytest.raises(Stopped), statement_loading.tables(office.bridge.runtime.engine):
        raise Stopped
    assert temporary_tables(office) == 0
