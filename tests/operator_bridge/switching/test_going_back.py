"""Going back to an operator that had the cheques before: it takes them again, under its new contract."""

from services.operator_bridge.reconciliation import comparing
from tests.operator_bridge.switching.town import Town, handover


def test_an_operator_that_gave_the_cheques_up_has_them_again_under_another_contract(town: Town) -> None:
    handover(town)
    town.finish()
    town.office.push_all(town.old)
    once_more = town.office.contract(state="draft", code="again")
    town.old, town.new = town.new, once_more
    assert town.ask("handover").status_code == 201
    report = town.finish()["report"]
    assert (report["differences"], report["refused_by_new"]["number"]) == (0, 0)
    assert report["moved"]["number"] == 71
    assert comparing.compare(town.office.bridge.runtime, once_more).count == 0
    spent = town.office.redeem(town.open[20:22])
    town.office.push_all(once_more)
    states = dict(town.office.rows("SELECT redemption_id, state FROM redemption WHERE contract_id = :id", id=once_more))
    assert [states[redemption] for redemption in spent] == ["confirmed"] * 2
