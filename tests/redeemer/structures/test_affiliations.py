"""The redeemer tells where its structures are, so that people can be sent there."""

from shared.values.ids import new_id
from tests.redeemer.conftest import COLUMNS, Till, day

HEADS = f"{COLUMNS},latitude,longitude,telephone,services"
SERVICE = "Maîtrise des outils numériques du quotidien"


def take_in(till: Till, address: str, query: str = "") -> None:
    """Takes the structure `s1` in again, at this address."""
    line = f"s1,82854918800021,Campus s1,Agen,47000,47001,{address},2026-02-05,44.2,0.6,+33536490001,{SERVICE}"
    answer = till.post(f"/v1/structures/imports{query}", "admin", f"{HEADS}\n{line}\n".encode())
    assert answer.status_code == 200, answer.text


def test_an_affiliation_tells_where_the_structure_is_and_what_it_offers(till: Till) -> None:
    take_in(till, "1 rue du Pont")
    second = new_id()
    till.tell_contract(second)
    assert till.affiliate(till.structure, second, day(0)).status_code == 201

    told = till.told("structure.affiliated")[-1]
    assert (told["address"], told["postcode"], told["commune"]) == ("1 rue du Pont", "47000", "Agen")
    assert (told["insee_code"], told["latitude"], told["longitude"]) == ("47001", 44.2, 0.6)
    assert (told["services"], told["phone"]) == ([SERVICE], "+33536490001")


def test_a_structure_that_moved_is_told_of(till: Till) -> None:
    take_in(till, "9 quai du Canal")
    [told] = till.told("structure.described")
    assert (told["structure_id"], told["address"]) == (till.structure, "9 quai du Canal")


def test_neither_a_trial_nor_a_file_that_changes_nothing_is_told_of(till: Till) -> None:
    take_in(till, "9 quai du Canal", "?dry_run=true")
    assert till.told("structure.described") == []
    take_in(till, "9 quai du Canal")
    take_in(till, "9 quai du Canal")
    assert len(till.told("structure.described")) == 1


def test_a_suspended_structure_that_goes_over_to_another_contract_is_told_of_when_it_is_back(till: Till) -> None:
    till.post(f"/v1/structures/{till.structure}/suspension", "admin", {"reason": "Under review."})
    successor = new_id()
    body = {"contract_id": successor, "code": "next", "operator": "other", "programme": "pass-numerique"}
    days = {"state": "live", "starts_on": day(0), "ends_on": None, "succeeds": till.contract}
    till.tell("contract.changed", body | days)
    assert [told["contract_id"] for told in till.told("structure.affiliated")] == [till.contract]

    headers = till.redeemer.headers("admin")
    ended = till.redeemer.client.delete(f"/v1/structures/{till.structure}/suspension", headers=headers)
    assert ended.status_code < 300, ended.text
    assert [told["contract_id"] for told in till.told("structure.affiliated")][1:] == [till.contract, successor]


def test_an_affiliation_of_a_suspended_structure_has_its_id_in_the_answer_that_is_kept(till: Till) -> None:
    till.post(f"/v1/structures/{till.structure}/suspension", "admin", {"reason": "Under review."})
    second = new_id()
    till.tell_contract(second)
    body = {"structure_id": str(till.structure), "contract_id": str(second), "starts_on": day(0).isoformat()}
    client, headers = till.redeemer.app.test_client(), till.redeemer.headers("admin", key="once")
    first, again = (client.post("/v1/affiliations", json=body, headers=headers) for _ in range(2))
    [stored] = till.rows("SELECT id FROM affiliation WHERE contract_id = :id", id=second)
    assert [answer.get_json()["affiliation_id"] for answer in (first, again)] == [str(stored.id)] * 2
