"""Guessing codes: it is counted by structure, by address and for all, locks out for longer and longer, and is told."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from services.redeemer import create_app
from services.redeemer.redemptions import lockout
from services.redeemer.redemptions.lockout import Guesser
from shared.limiting.client_address import client_network
from shared.problems import TooMany
from shared.values import cheque_code
from shared.values.ids import new_id
from tests.harness import ServiceUnderTest
from tests.redeemer.conftest import ANYTHING, Till, day

LIMIT = 20
FOREIGN = {**ANYTHING, "code": "pass-mobilite"}


def another(till: Till, **changes: Any) -> Till:
    """Another replica on the same database, with some settings changed."""
    given = till.redeemer
    settings = replace(given.settings, **changes)
    replica = ServiceUnderTest(create_app(settings), settings, given.signer, given.environ)
    return Till(replica, till.contract, till.structure)


def codes(number: int) -> list[str]:
    return [cheque_code.generate() for _ in range(number)]


def send(till: Till, code: str, structure: UUID, **sent_from: Any) -> TestResponse:
    """Presents a code as if from some address."""
    headers = till.redeemer.headers("structure", structure, key=str(new_id())) | sent_from.pop("headers", {})
    body = {"codes": [code]}
    return till.redeemer.app.test_client().post("/v1/redemptions", json=body, headers=headers, **sent_from)


def wait(till: Till, period: str) -> None:
    """Lets time pass for those who are counted."""
    with till.redeemer.runtime.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE guessing SET clear_at = clear_at - interval '{period}',"
            f" locked_until = locked_until - interval '{period}'"
        )


def seconds_of_lockout(till: Till) -> int:
    answer = till.check(cheque_code.generate())
    assert (answer.status_code, answer.get_json()["type"]) == (429, "urn:souche:too-many-attempts")
    return int(answer.headers["Retry-After"])


class TestAStructure:
    def test_is_locked_out_of_redemptions_and_checks_alike_whatever_it_sends(self, till: Till) -> None:
        [cheque] = till.issue()

        assert till.present(codes(LIMIT)).status_code == 409
        answers = [till.present([cheque.code]), till.check(cheque.code), till.check("garbage")]

        assert {answer.status_code for answer in answers} == {429}
        assert len({str(answer.get_json()) for answer in answers}) == 1
        assert till.state(cheque) == "spendable"

    def test_is_locked_out_by_half_as_many_checks(self, till: Till) -> None:
        statuses = [till.check(code).status_code for code in codes(12)]
        assert statuses[:10] == [200] * 10
        assert statuses[11] == 429

    def test_is_not_locked_out_for_another(self, till: Till) -> None:
        [cheque] = till.issue()
        till.present(codes(LIMIT))
        assert till.present([cheque.code], structure=till.affiliated("s2")).status_code == 201

    def test_that_makes_typing_errors_all_day_is_never_counted(self, till: Till) -> None:
        [cheque] = till.issue()
        wrong = cheque.code[:-1] + ("0" if cheque.code[-1] != "0" else "1")
        for _ in range(3):
            assert till.present([wrong] + ["x"] * LIMIT).status_code == 409
            assert till.check(wrong).get_json()["reason"] == "unknown-code"

        assert not till.rows("SELECT FROM guessing")
        assert till.present([cheque.code]).status_code == 201

    def test_is_locked_out_four_times_as_long_each_time_up_to_a_day(self, till: Till) -> None:
        waits = []
        for _ in range(8):
            till.present(codes(LIMIT))
            waits.append(seconds_of_lockout(till))
            wait(till, f"{waits[-1] + 3600} seconds")
        assert waits == pytest.approx([60, 240, 960, 3840, 15_360, 61_440, 86_400, 86_400], abs=3)

    def test_that_goes_on_as_soon_as_it_may_is_locked_out_again_after_a_few(self, till: Till) -> None:
        till.present(codes(LIMIT))
        wait(till, "60 seconds")
        assert till.present(codes(2)).status_code == 409
        assert seconds_of_lockout(till) > 200

    def test_is_forgiven_after_a_good_week(self, till: Till) -> None:
        for _ in range(2):
            till.present(codes(LIMIT))
            wait(till, "2 hours")
        wait(till, "8 days")
        till.present(codes(LIMIT))
        assert seconds_of_lockout(till) <= 60

    def test_is_let_in_again_once_it_was_spoken_to(self, till: Till) -> None:
        [cheque] = till.issue()
        till.present(codes(LIMIT))

        def lift(structure: UUID, role: str = "operations") -> int:
            path, headers = f"/v1/structures/{structure}/lockout", till.redeemer.headers(role)
            return till.redeemer.app.test_client().delete(path, headers=headers).status_code

        assert lift(till.structure, "finance") == 403
        assert till.check(cheque.code).status_code == 429
        assert [lift(till.structure), lift(till.structure), lift(new_id())] == [204, 204, 404]
        assert till.present([cheque.code]).status_code == 201
        [recorded] = till.rows("SELECT subject, before FROM audit_entry WHERE before ? 'locked_out_until'")
        assert recorded.subject == "test"

    def test_may_err_now_and_then_for_ever(self, till: Till) -> None:
        for _ in range(10):
            assert till.present(codes(LIMIT // 2)).status_code == 409
            wait(till, "30 minutes")
        assert not till.rows("SELECT FROM guessing WHERE lockouts > 0")

    def test_stays_locked_out_at_every_replica_and_after_a_restart(self, till: Till) -> None:
        till.present(codes(LIMIT))
        assert another(till).check(cheque_code.generate()).status_code == 429


class TestAnAddress:
    def test_is_locked_out_for_all_whose_tokens_guessed_there_and_gives_no_other_a_guess(self, till: Till) -> None:
        shared = another(till, guesses_per_address=6)
        [cheque] = till.issue()
        *thieves, fresh = [till.affiliated(f"s{number}") for number in range(2, 6)]
        for thief in thieves:
            for code in codes(2):
                assert send(shared, code, thief).status_code == 409
        send(shared, cheque_code.generate(), thieves[-1])  # what a second or two have drained

        assert [send(shared, cheque.code, thief).status_code for thief in thieves] == [429, 429, 429]
        assert send(shared, cheque_code.generate(), fresh).status_code == 429
        assert send(shared, cheque.code, fresh).status_code == 429
        there = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
        assert send(shared, cheque.code, thieves[0], **there).status_code == 201

    def test_is_not_locked_out_for_the_honest_tills_that_share_it(self, till: Till) -> None:
        """Else one till with a stolen token, or with faulty software, would close all those behind one proxy."""
        first, second, third = till.issue(3)
        thief = till.affiliated("s2")
        for code in codes(LIMIT - 1):
            till.present([code], structure=thief)
        till.present(codes(50), structure=thief)
        locked = till.rows("SELECT scope FROM guessing WHERE locked_until > now() ORDER BY scope")
        assert [row.scope for row in locked] == ["address", "structure"]

        assert till.present([first.code]).status_code == 201
        assert till.check(second.code).get_json()["redeemable"]
        assert till.present([second.code, third.code]).status_code == 201
        assert till.present([first.code], structure=thief).status_code == 429

    def test_is_not_locked_out_for_a_structure_that_was_let_in_again(self, till: Till) -> None:
        [cheque] = till.issue()
        till.present(codes(50))
        till.present(codes(50), structure=till.affiliated("s2"))
        headers = till.redeemer.headers("operations")
        path = f"/v1/structures/{till.structure}/lockout"
        assert till.redeemer.app.test_client().delete(path, headers=headers).status_code == 204
        assert till.present([cheque.code]).status_code == 201

    def test_is_what_our_own_proxies_say_and_not_what_callers_say(self, till: Till) -> None:
        behind = another(till, trusted_proxies=1)
        for forged in ("203.0.113.1", "203.0.113.2"):
            send(till, cheque_code.generate(), till.structure, headers={"X-Forwarded-For": forged})
            through = {"X-Forwarded-For": f"{forged}, 198.51.100.9"}
            send(behind, cheque_code.generate(), till.structure, headers=through)
        found = till.rows("SELECT who, guesses FROM guessing WHERE scope = 'address' ORDER BY who")
        assert [tuple(row) for row in found] == [("address 127.0.0.1", 2), ("address 198.51.100.9", 2)]

    @pytest.mark.parametrize(
        ("told", "counted"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("unknown", None),
            (None, None),
        ],
    )
    def test_of_ipv6_is_its_network(self, told: str | None, counted: str | None) -> None:
        assert client_network(told) == counted

    def test_is_forgotten_after_a_week(self, till: Till) -> None:
        till.present(codes(1))
        assert lockout.forget(till.redeemer.runtime) == 0
        wait(till, "8 days")
        assert lockout.forget(till.redeemer.runtime) == 2
        assert [row.who for row in till.rows("SELECT who FROM guessing")] == ["everybody"]


class TestEverybody:
    def test_who_guessed_is_locked_out_and_nobody_else(self, till: Till) -> None:
        wary = another(till, guesses_in_all=8)
        [first, second] = till.issue(2)
        thieves = [till.affiliated(f"s{number}") for number in range(2, 7)]
        statuses = [
            send(wary, code, thief, environ_base={"REMOTE_ADDR": f"192.0.2.{number}"}).status_code
            for number, thief in enumerate(thieves)
            for code in codes(2)
        ]
        assert statuses == [409] * 8 + [409, 429]  # the fifth had tried nothing yet
        honest = {"environ_base": {"REMOTE_ADDR": "198.51.100.1"}}
        assert send(wary, first.code, till.structure, **honest).status_code == 201
        assert send(wary, second.code, till.structure, **honest).status_code == 201


class TestWhatIsTold:
    def test_a_lockout_is_an_event_once_and_never_names_an_address(self, till: Till) -> None:
        for _ in range(3):
            till.present(codes(LIMIT))
        [told] = till.told("codes.guessed")
        assert (told["scope"], told["structure_id"], told["lockout"]) == ("structure", till.structure, 1)
        assert "127.0.0.1" not in str(till.rows("SELECT key, body FROM event"))

    def test_it_is_counted(self, till: Till) -> None:
        till.present(codes(LIMIT))
        text = another(till).get("/metrics", "operations").text
        assert f'souche_guesses{{service="redeemer"}} {LIMIT}.0' in text
        for counted in ("souche_lockouts", "souche_locked_out"):
            assert f'{counted}{{scope="structure",service="redeemer"}} 1.0' in text

    def test_what_was_judged_at_the_same_time_as_the_limit_was_reached_is_not_answered(self, till: Till) -> None:
        guesser = Guesser(till.structure, "192.0.2.7")
        lockout.count(till.redeemer.runtime, guesser, LIMIT, lockout.A_REDEMPTION)
        with pytest.raises(TooMany):
            lockout.count(till.redeemer.runtime, guesser, 1, lockout.A_REDEMPTION)


class TestAForeignCheque:
    """One that exists, and that the structure may not take: nothing tells it from one that does not exist."""

    @pytest.fixture
    def foreign(self, till: Till) -> Iterator[str]:
        """The code of a cheque of another programme, which must stay untouched."""
        [cheque] = till.issue(programme=FOREIGN)
        stored = "SELECT xmin, xmax, * FROM cheque WHERE id = :id"
        before = till.rows(stored, id=cheque.id)
        yield cheque.code
        assert till.rows(stored, id=cheque.id) == before

    def test_is_answered_as_an_unknown_code(self, till: Till, foreign: str) -> None:
        unknown = cheque_code.generate()
        saying: list[dict[str, Any]] = [
            {},
            {"given_on": day(-3).isoformat()},
            {"service": "Bases", "postcode": "47000"},
        ]
        for said in saying:
            checked = [till.check(code, **said) for code in (foreign, unknown)]
            presented = [till.present([code], **said) for code in (foreign, unknown)]
            for theirs, nobodys in (checked, presented):
                assert (theirs.status_code, theirs.data) == (nobodys.status_code, nobodys.data)
                assert set(theirs.headers.keys()) == set(nobodys.headers.keys())
        assert till.rows("SELECT guesses FROM guessing WHERE scope = 'structure'")[0].guesses == 12

    def test_is_answered_as_an_unknown_code_among_good_ones(self, till: Till, foreign: str) -> None:
        [good] = till.issue()
        theirs, nobodys = (till.present([good.code, code]) for code in (foreign, cheque_code.generate()))
        assert theirs.data == nobodys.data
        assert till.state(good) == "spendable"

    def test_is_counted_as_an_unknown_code(self, till: Till, foreign: str) -> None:
        statuses = [till.check(foreign).status_code for _ in range(12)]
        assert statuses[11] == 429

    def test_a_structure_that_may_take_none_is_answered_alike_for_all(self, till: Till, foreign: str) -> None:
        stranger = till.add_structure("stranger")
        suspended = till.affiliated("suspended")
        till.post(f"/v1/structures/{suspended}/suspension", "admin", {"reason": "inspection"})
        spendable = till.issue()[0].code
        for structure in (stranger, suspended):
            tried = (foreign, spendable, cheque_code.generate())
            assert len({till.check(code, structure=structure).data for code in tried}) == 1
            assert len({till.present([code], structure=structure).data for code in tried}) == 1

    @pytest.mark.slow
    def test_takes_as_long_as_an_unknown_code(self, till: Till, foreign: str) -> None:
        patient = another(till, guesses_per_structure=10**6, guesses_per_address=10**6, guesses_in_all=10**6)
        unknown = cheque_code.generate()
        asks: list[Callable[[str], TestResponse]] = [patient.check, lambda code: patient.present([code])]
        for ask in asks:
            taken: dict[str, list[float]] = {foreign: [], unknown: []}
            for _ in range(150):
                for code, times in taken.items():
                    began = time.perf_counter()
                    ask(code)
                    times.append(time.perf_counter() - began)
            theirs, nobodys = (statistics.quantiles(times, n=4)[0] for times in taken.values())
            assert theirs == pytest.approx(nobodys, rel=0.25), (theirs, nobodys)
