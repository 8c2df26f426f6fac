"""Redeeming: all or nothing, every reason to refuse, the same key again, and what is told of it."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from shared.eventlog import event_kinds
from shared.values import cheque_code
from shared.values.ids import new_id
from tests.redeemer.conftest import ANYTHING, PROGRAMME, Till, day

Refusals = Callable[[TestResponse], list[tuple[int, str]]]


def test_cheques_presented_together_are_redeemed_and_told_of(till: Till) -> None:
    cheques = till.issue(3)

    answer = till.present([cheques[2].code, cheques[0].code], given_on=day(-2))

    assert answer.status_code == 201
    body = answer.get_json()
    assert [line["cheque_id"] for line in body["redemptions"]] == [str(cheques[2].id), str(cheques[0].id)]
    assert body["total_cents"] == 2000
    assert [till.state(cheque) for cheque in cheques] == ["redeemed", "spendable", "redeemed"]
    [told] = till.told("cheques.redeemed")
    [row] = till.rows("SELECT body FROM event WHERE kind = 'cheques.redeemed'")
    whole = json.loads(event_kinds.encode(event_kinds.load("cheques.redeemed", told)))
    assert row.body.keys() == whole.keys()
    assert row.body["redemptions"] == whole["redemptions"]
    assert str(told["presentation_id"]) == body["presentation_id"]
    assert told["redeemed_at"].isoformat() == body["redeemed_at"]
    assert (told["structure_id"], told["programme"], told["via"]) == (till.structure, PROGRAMME, "till")
    assert (told["given_on"], told["contract_id"]) == (day(-2), None)
    assert [(str(line["redemption_id"]), line["amount_cents"]) for line in told["redemptions"]] == [
        (line["redemption_id"], 1000) for line in body["redemptions"]
    ]


def test_cheques_of_two_programmes_presented_together_are_told_of_apart(till: Till) -> None:
    till.tell_contract(other := new_id(), "pass-mobilite")
    till.affiliate(till.structure, other, day(-10))
    [first], [second] = till.issue(), till.issue(programme={**ANYTHING, "code": "pass-mobilite"})

    assert till.present([first.code, second.code]).status_code == 201

    told = till.told("cheques.redeemed")
    assert {one["programme"]: one["redemptions"][0]["cheque_id"] for one in told} == {
        PROGRAMME: first.id,
        "pass-mobilite": second.id,
    }


def test_a_code_is_taken_however_it_is_typed(till: Till) -> None:
    [cheque] = till.issue()
    typed = f" {cheque_code.printed(cheque.code).lower().replace('0', 'o').replace('1', 'l').replace('-', ' ')}"

    assert till.present([typed]).status_code == 201


def test_one_cheque_that_cannot_be_taken_leaves_all_as_they_were(till: Till, refusals: Refusals) -> None:
    good, spent = till.issue(2)
    redeemed_at = till.present([spent.code]).get_json()["redeemed_at"]

    answer = till.present([good.code, cheque_code.generate(), "garbage", spent.code])

    assert refusals(answer) == [(1, "unknown-code"), (2, "unknown-code"), (3, "already-redeemed")]
    told = answer.get_json()["refusals"]
    assert "typing error" in told[1]["detail"]
    assert told[2]["redeemed_at"] == redeemed_at
    assert till.state(good) == "spendable"
    assert len(till.told("cheques.redeemed")) == 1


def test_a_code_that_is_there_twice_is_refused_with_both_indexes(till: Till) -> None:
    first, second = till.issue(2)

    answer = till.present([first.code, second.code, cheque_code.printed(first.code).lower()])

    assert answer.status_code == 422
    assert answer.get_json()["indexes"] == [0, 2]
    assert till.state(second) == "spendable"


def test_no_answer_contains_a_code(till: Till) -> None:
    cheques = till.issue(2)
    codes = [cheque.code for cheque in cheques]
    answers = [till.present([codes[0], codes[0]]), till.present(codes), till.present(codes), till.check(codes[0])]

    assert not any(code in answer.text for code in codes for answer in answers)


class TestRefusals:
    """One reason each."""

    def test_a_cheque_that_waits_for_an_operator(self, till: Till, refusals: Refusals) -> None:
        [cheque] = till.issue(programme={**ANYTHING, "spendable": "on_registration"})
        assert refusals(till.present([cheque.code])) == [(0, "not-yet-spendable")]

    def test_a_workshop_before_the_grant(self, till: Till, refusals: Refusals) -> None:
        [cheque] = till.issue(granted_on=day(-3))
        assert refusals(till.present([cheque.code], given_on=day(-4))) == [(0, "not-yet-spendable")]

    def test_a_workshop_after_the_last_valid_day(self, till: Till, refusals: Refusals) -> None:
        [cheque] = till.issue(valid_until=day(-3))
        assert refusals(till.present([cheque.code], given_on=day(-2))) == [(0, "expired")]
        assert till.present([cheque.code], given_on=day(-3)).status_code == 201

    def test_a_cheque_presented_after_its_last_day(self, till: Till, refusals: Refusals) -> None:
        [late] = till.issue(valid_until=day(-5), presentable_until=day(-1))
        [in_time] = till.issue(valid_until=day(-5), presentable_until=day(0))
        assert refusals(till.present([late.code], given_on=day(-6))) == [(0, "expired")]
        assert till.present([in_time.code], given_on=day(-6)).status_code == 201

    def test_a_cancelled_and_a_blocked_cheque(self, till: Till, refusals: Refusals) -> None:
        cancelled, blocked = till.issue(2)
        body = {"cancellation_id": new_id(), "cheque_ids": [cancelled.id], "reason": "returned"}
        till.tell("cancellation.requested", body)
        till.tell("cheques.blocked", {"cheque_ids": [blocked.id], "reason": "stolen"})
        assert refusals(till.present([cancelled.code, blocked.code])) == [(0, "cancelled"), (1, "blocked")]

    def test_a_structure_that_was_not_affiliated_on_that_day(self, till: Till, refusals: Refusals) -> None:
        cheques = till.issue(3, granted_on=day(-60))
        structure = till.add_structure("s2")
        till.affiliate(structure, till.contract, day(-10), day(-5))
        for given_on in (day(-11), day(-4)):
            answer = till.present([cheques[0].code], structure=structure, given_on=given_on)
            assert refusals(answer) == [(0, "structure-not-affiliated")]
        for given_on, cheque in ((day(-10), cheques[1]), (day(-5), cheques[2])):
            assert till.present([cheque.code], structure=structure, given_on=given_on).status_code == 201

    def test_an_affiliation_to_another_programme_does_not_count(self, till: Till, refusals: Refusals) -> None:
        [cheque] = till.issue(programme={**ANYTHING, "code": "pass-mobilite"})
        assert refusals(till.present([cheque.code])) == [(0, "unknown-code")]

    def test_an_affiliation_counts_whatever_becomes_of_the_contract(self, till: Till) -> None:
        [cheque] = till.issue()
        till.tell_contract(till.contract, state="failed")
        assert till.present([cheque.code]).status_code == 201

    def test_a_suspended_structure(self, till: Till, refusals: Refusals) -> None:
        [cheque] = till.issue()
        path = f"/v1/structures/{till.structure}/suspension"
        till.post(path, "admin", {"reason": "inspection"})
        answer = till.present([cheque.code])
        assert refusals(answer) == [(0, "structure-not-affiliated")]
        assert "suspended" in answer.get_json()["refusals"][0]["detail"]
        till.redeemer.client.delete(path, headers=till.redeemer.headers("admin"))
        assert till.present([cheque.code]).status_code == 201

    def test_a_structure_that_may_not_take_a_cheque_does_not_learn_that_it_is_spent(
        self, till: Till, refusals: Refusals
    ) -> None:
        [cheque] = till.issue()
        assert till.present([cheque.code]).status_code == 201
        answer = till.present([cheque.code], structure=till.add_structure("stranger"))
        assert refusals(answer) == [(0, "structure-not-affiliated")]
        assert "redeemed_at" not in answer.get_json()["refusals"][0]

    @pytest.mark.parametrize(
        ("said", "reason"),
        [({}, "service-not-covered"), ({"service": "Cuisine"}, "service-not-covered"), ({"service": "BASES"}, None)],
    )
    def test_a_service(self, till: Till, refusals: Refusals, said: dict[str, Any], reason: str | None) -> None:
        [cheque] = till.issue(programme={**ANYTHING, "services": ["Bases", "Parentalité"]})
        answer = till.present([cheque.code], **said)
        assert answer.status_code == 201 if reason is None else refusals(answer) == [(0, reason)]

    @pytest.mark.parametrize(
        ("territory", "said", "taken"),
        [
            (["47"], {}, True),
            (["47001"], {}, True),  # the structure's INSEE code
            (["33", "40"], {}, False),
            (["47"], {"postcode": "33000"}, False),
            (["33"], {"postcode": "33000"}, True),
        ],
    )
    def test_a_territory(
        self, till: Till, refusals: Refusals, territory: list[str], said: dict[str, Any], taken: bool
    ) -> None:
        [cheque] = till.issue(programme={**ANYTHING, "territory": territory})
        answer = till.present([cheque.code], **said)
        assert answer.status_code == 201 if taken else refusals(answer) == [(0, "out-of-territory")]

    def test_a_workshop_that_is_still_to_come(self, till: Till) -> None:
        [cheque] = till.issue()
        answer = till.present([cheque.code], given_on=day(1))
        assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["given_on"])


class TestTheSameKeyAgain:
    """An Idempotency-Key belongs to one request of one structure."""

    def test_gets_the_same_answer_byte_for_byte(self, till: Till) -> None:
        codes = [cheque.code for cheque in till.issue(5)]
        first = till.present(codes, key="k")
        till.reverse(first.get_json()["redemptions"][3]["redemption_id"])

        again = till.present(codes, key="k")

        assert (again.status_code, again.data) == (first.status_code, first.data) == (201, first.data)
        assert len(till.rows("SELECT FROM redemption")) == 5

    def test_gets_the_same_answer_where_all_of_it_was_taken_back_since(self, till: Till) -> None:
        [cheque] = till.issue()
        first = till.present([cheque.code], key="k")
        till.reverse(first.get_json()["redemptions"][0]["redemption_id"])

        assert till.present([cheque.code], key="k").data == first.data
        assert till.state(cheque) == "spendable"

    def test_with_another_request_is_refused(self, till: Till) -> None:
        first, second = till.issue(2)
        till.present([first.code], key="k")

        answers = [till.present(codes, key="k") for codes in ([second.code], ["garbage"], [second.code, first.code])]

        assert {answer.get_json()["type"] for answer in answers} == {"urn:souche:idempotency-key-reused"}
        assert {answer.status_code for answer in answers} == {422}
        assert till.state(second) == "spendable"

    def test_of_another_structure_is_another_key(self, till: Till) -> None:
        first, second = till.issue(2)
        other = till.affiliated("s2")

        assert till.present([first.code], key="k").status_code == 201
        assert till.present([second.code], key="k", structure=other).status_code == 201

    def test_after_a_refusal_is_judged_anew(self, till: Till, refusals: Refusals) -> None:
        [cheque] = till.issue()
        till.tell("cheques.blocked", {"cheque_ids": [cheque.id], "reason": "in doubt"})
        assert refusals(till.present([cheque.code], key="k")) == [(0, "blocked")]
        till.tell("cheques.unblocked", {"cheque_ids": [cheque.id], "reason": "found"})

        assert till.present([cheque.code], key="k").status_code == 201

    def test_is_needed(self, till: Till) -> None:
        [cheque] = till.issue()
        headers = till.redeemer.headers("structure", till.structure)
        answer = till.redeemer.client.post("/v1/redemptions", json={"codes": [cheque.code]}, headers=headers)
        assert (answer.status_code, answer.get_json()["type"]) == (400, "urn:souche:idempotency-key-missing")


def test_being_locked_out_does_not_keep_an_answer_from_being_repeated(till: Till) -> None:
    [cheque] = till.issue()
    first = till.present([cheque.code], key="k")
    till.present([cheque_code.generate() for _ in range(50)])

    assert till.present([cheque_code.generate()]).status_code == 429
    assert till.present([cheque.code], key="k").data == first.data


def test_a_structure_of_which_nothing_is_known_can_redeem_nothing(till: Till, refusals: Refusals) -> None:
    [cheque] = till.issue()
    nobody = UUID(int=1)
    assert refusals(till.present([cheque.code], structure=nobody)) == [(0, "structure-not-affiliated")]


def test_a_code_digested_with_a_key_that_was_rotated_is_found(till: Till) -> None:
    [cheque] = till.issue()
    keys = till.redeemer.settings.keys["CODE_DIGEST_KEY"]
    assert isinstance(keys, dict)
    current = dict(keys)
    keys.clear()
    keys.update({"new": bytes(32)} | current)
    try:
        assert till.check(cheque.code).get_json()["redeemable"]
        assert till.present([cheque.code]).status_code == 201
    finally:
        keys.clear()
        keys.update(current)
