"""What the redeemer records: who presented what from where, and what people did to redemptions and structures."""

from typing import Any

from shared.values.ids import new_id
from tests.redeemer.conftest import Till


def entries(till: Till, **query: object) -> list[dict[str, Any]]:
    """What an auditor finds, oldest first."""
    answer = till.redeemer.client.get(
        "/v1/audit", query_string={"limit": 500} | query, headers=till.redeemer.headers("admin", subject="auditor")
    )
    assert answer.status_code == 200, answer.json
    found: list[dict[str, Any]] = answer.get_json()["items"]
    return found


def test_a_presentation_says_who_made_it_and_from_where(till: Till) -> None:
    made = till.issue(3)
    answer = till.present([one.code for one in made])
    assert answer.status_code == 201
    [entry] = entries(till, object_kind="presentation")
    assert entry["object_id"] == answer.json["presentation_id"]  # type: ignore[index]
    assert entry["action"] == "POST /v1/redemptions"
    assert (entry["role"], entry["scope"], entry["subject"]) == ("structure", str(till.structure), "test")
    assert entry["address"] == "127.0.0.1"
    assert entry["request_id"] == answer.headers["X-Request-ID"]
    assert entry["after"] == {"redemptions": 3, "amount_cents": 3000}


def test_the_same_presentation_again_and_one_that_is_refused_leave_nothing_more(till: Till) -> None:
    [one] = till.issue(1)
    key = str(new_id())
    assert till.present([one.code], key=key).status_code == 201
    assert till.present([one.code], key=key).status_code == 201
    assert till.present([one.code]).status_code == 409
    assert len(entries(till, action="POST /v1/redemptions", object_kind="presentation")) == 1


def test_taking_a_redemption_back_is_recorded(till: Till) -> None:
    [one] = till.issue(1)
    taken = till.present([one.code]).json["redemptions"][0]["redemption_id"]  # type: ignore[index]
    headers = till.redeemer.headers("structure", till.structure, subject="till 2")
    body = {"reason": "Typed twice."}
    answer = till.redeemer.client.post(f"/v1/redemptions/{taken}/reversal", json=body, headers=headers)
    assert answer.status_code == 200
    [entry] = entries(till, object_kind="redemption")
    assert (entry["object_id"], entry["subject"]) == (taken, "till 2")
    assert entry["before"] == {"reversed_at": None, "reversal_reason": "…"}
    assert set(entry["after"]) == {"reversed_at", "reversal_reason"}


def test_what_the_bridge_tells_of_a_redemption_is_not_an_act(till: Till) -> None:
    [one] = till.issue(1)
    taken = till.present([one.code]).json["redemptions"][0]["redemption_id"]  # type: ignore[index]
    till.tell("redemptions.confirmed", {"contract_id": till.contract, "redemption_ids": [taken]})
    assert entries(till, object_kind="redemption") == []


def test_suspending_a_structure_is_recorded_with_what_it_was(till: Till) -> None:
    answer = till.post(f"/v1/structures/{till.structure}/suspension", "admin", {"reason": "Under inquiry."})
    assert answer.status_code == 200
    entry = entries(till, object_id=str(till.structure))[-1]
    assert entry["before"] == {"suspended_at": None, "suspension_reason": "…"}
    assert entry["after"]["suspension_reason"] == "…"
