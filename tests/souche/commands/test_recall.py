"""Which service begins without the others, when all three were restored and none of them answers yet."""

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from shared.eventlog import log
from souche.commands import recall
from tests.harness import ServiceUnderTest


@pytest.fixture
def restored(service: Callable[[str], ServiceUnderTest], owner: sa.Engine) -> Callable[[str], ServiceUnderTest]:
    """A service whose log is not what its epoch was named for, and whose peers are not there."""

    def make(name: str) -> ServiceUnderTest:
        made = service(name)
        log.page(made.runtime.engine, 0, 1)
        with owner.begin() as connection:
            connection.execute(sa.text(f"UPDATE {name}.feed_epoch SET fingerprint = 'of another log'"))
        assert log.is_restored(made.runtime.engine)
        return made

    return make


@pytest.mark.parametrize("name", ["issuer", "operator_bridge"])
def test_the_issuer_and_the_bridge_begin_without_the_others_in_the_end(
    name: str, restored: Callable[[str], ServiceUnderTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(recall._PATIENCE_SECONDS, "operator_bridge", 0.0)
    made = restored(name)
    recall.before_work(made.settings)
    assert not log.is_restored(made.runtime.engine)


@pytest.mark.slow
def test_the_redeemer_does_not_begin_before_the_others_have_answered(
    restored: Callable[[str], ServiceUnderTest],
) -> None:
    made = restored("redeemer")
    beginning = threading.Thread(target=recall.before_work, args=(made.settings,), daemon=True)
    beginning.start()
    beginning.join(2)
    assert beginning.is_alive()
    assert log.is_restored(made.runtime.engine)
    log.page(made.runtime.engine, 0, 1)  # its epoch is named: the thread ends
    beginning.join(30)
    assert not beginning.is_alive()
