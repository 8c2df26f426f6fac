"""The journal and the reports of conventions: what is booked once, whatever is heard twice or out of order."""

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from shared.values import clock
from shared.values.ids import new_id
from tests.issuer.office import (
    Office,
    cancelled,
    expired,
    ids,
    paid,
    problem,
    redeemed,
    reversed_,
    unpaid,
    wrong_fields,
)

YESTERDAY = clock.today() - timedelta(days=1)


@pytest.fixture
def funded(office: Office) -> Office:
    """An office with an envelope of 1 000 €."""
    office.envelope(100_000)
    return office


def sums(office: Office, **asked: Any) -> dict[str, int]:
    """The numbers of the only convention's report, without those that are 0; cents go with them at 10 € a cheque."""
    [convention] = office.report(**asked)["conventions"]
    return _numbers(convention["sums"])


def _numbers(measured: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    assert all(sum_["cents"] == sum_["number"] * 1000 for sum_ in measured.values())
    return {measure: sum_["number"] for measure, sum_ in measured.items() if sum_["number"]}


def by(office: Office, name: str) -> dict[Any, dict[str, int]]:
    """A breakdown of the only convention's report."""
    [convention] = office.report()["conventions"]
    return {line[name]: _numbers(line["sums"]) for line in convention[f"by_{name}"]}


def table(office: Office, path: str) -> list[dict[str, str]]:
    """The lines of a CSV file."""
    answer = office.get(path, "finance")
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_a_report_tells_what_was_granted_engaged_used_expired_cancelled_and_paid(funded: Office) -> None:
    one, two, three, four, five = ids(funded.grant())
    redemptions = [new_id(), new_id()]
    funded.tell(redeemed([one, two], redemptions), expired([three]), cancelled(str(new_id()), [four]))
    funded.tell(paid(redemptions[:1]))
    assert five
    expected = {"granted": 5, "engaged": 3, "used": 2, "expired": 1, "cancelled": 1, "paid": 1}
    assert sums(funded) == expected


def test_a_report_breaks_down_by_public_kind_of_prescriber_and_month(office: Office) -> None:
    office.envelope(100_000)
    heads = "id,pivot,nom,commune,code_postal,adresse,typologie,date_maj"
    place = "mairie,00000000000000,Mairie,Agen,47000,1 rue,MUNI|ASSO,2026-02-01"
    office.made(office.post("/v1/prescribers/imports", f"{heads}\n{place}\n".encode()), 200)
    [mairie] = office.made(office.get("/v1/prescribers"), 200)["items"]
    first = office.grant(granted_on="2026-01-31", target_public="seniors", scope=UUID(mairie["prescriber_id"]))
    office.grant(granted_on="2026-02-01", target_public="jeunes")
    office.grant(granted_on="2026-02-28", amount_cents=6_000)
    kind, body = redeemed(ids(first)[:2])
    already_april_in_paris = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
    office.tell((kind, {**body, "redeemed_at": already_april_in_paris}))
    assert by(office, "target_public") == {
        "seniors": {"granted": 5, "engaged": 5, "used": 2},
        "jeunes": {"granted": 5, "engaged": 5},
        None: {"granted": 6, "engaged": 6},
    }
    assert by(office, "prescriber_kind") == {
        "MUNI": {"granted": 5, "engaged": 5, "used": 2},
        None: {"granted": 11, "engaged": 11},
    }
    assert by(office, "month") == {
        "2026-01": {"granted": 5, "engaged": 5},
        "2026-02": {"granted": 11, "engaged": 11},
        "2026-04": {"used": 2},
    }


def test_a_report_keeps_the_kind_that_the_prescriber_had_when_it_granted(office: Office) -> None:
    office.envelope(100_000)
    heads = "id,pivot,nom,commune,code_postal,adresse,typologie,date_maj"
    place = "ccas-agen,00000000000000,CCAS,Agen,47000,1 rue,{},2026-02-0{}"
    for number, kind in enumerate(("CCAS", "CIAS"), 1):
        content = f"{heads}\n{place.format(kind, number)}\n".encode()
        office.made(office.post("/v1/prescribers/imports", content), 200)
        if kind == "CCAS":
            [prescriber] = office.made(office.get("/v1/prescribers"), 200)["items"]
            grant = office.grant(scope=UUID(prescriber["prescriber_id"]))
    office.tell(redeemed(ids(grant)))
    assert by(office, "prescriber_kind") == {"CCAS": {"granted": 5, "engaged": 5, "used": 5}}


def test_a_funder_owes_its_part_of_what_was_used_rounded_down_to_the_cent(office: Office) -> None:
    office.under(office.convention(pays_at_most_bp=6667), 50_000)
    office.tell(redeemed(ids(office.grant())[:1]))
    [convention] = office.report()["conventions"]
    assert (convention["amount_cents"], convention["envelopes_cents"], convention["owed_cents"]) == (
        100_000,
        50_000,
        666,
    )


def test_conventions_are_reported_by_funder_each_alone_if_asked(office: Office) -> None:
    msa = office.convention(funder="MSA")
    office.under(office.convention(), 5_000, priority=1)
    office.under(msa, 50_000, priority=2)
    office.grant(amount_cents=7_000)
    assert [
        (each["funder"], each["sums"]["engaged"]["number"], [line["amount_cents"] for line in each["by_envelope"]])
        for each in office.report()["conventions"]
    ] == [("CAF", 5, [5_000]), ("MSA", 2, [50_000])]
    assert [each["funder"] for each in office.report(convention_id=msa)["conventions"]] == ["MSA"]
    assert problem(office.get(f"/v1/reports/conventions?convention_id={uuid4()}")) == (404, "not-found")
    assert problem(office.get(f"/v1/reports/conventions/lines.csv?convention_id={uuid4()}")) == (404, "not-found")


def test_the_report_is_a_table_too_in_short_and_in_full(funded: Office) -> None:
    grant = funded.grant(granted_on="2026-02-28", target_public="=SUM(A1)")
    funded.tell(expired(ids(grant)[:1]))
    [line] = table(funded, "/v1/reports/conventions/summary.csv")
    assert line["funder"] == "État"
    assert (line["amount_cents"], line["granted_cents"], line["engaged_cents"]) == ("100000", "5000", "4000")
    lines = table(funded, "/v1/reports/conventions/lines.csv")
    heads = ("month", "target_public", "granted_number", "expired_cents")
    assert [tuple(line[head] for head in heads) for line in lines] == [
        ("2026-02", "'=SUM(A1)", "5", "0"),
        (f"{clock.today():%Y-%m}", "'=SUM(A1)", "0", "1000"),
    ]
    assert sum(int(line["engaged_cents"]) for line in lines) == 4_000


def test_a_report_of_a_day_to_come_is_refused(funded: Office) -> None:
    tomorrow = clock.today() + timedelta(days=1)
    for path in ("", "/summary.csv", "/lines.csv"):
        answer = funded.get(f"/v1/reports/conventions{path}?as_of={tomorrow}")
        assert problem(answer) == (422, "invalid")
        assert wrong_fields(answer) == ["as_of"]


def test_a_report_as_of_a_past_day_is_unchanged_by_what_came_later(funded: Office) -> None:
    past = date(2026, 3, 10)
    grant = funded.grant()
    _happened_before(funded, past)
    before = funded.report(as_of=past)
    [convention] = before["conventions"]
    assert not before["provisional"]
    assert (_numbers(convention["sums"]), convention["amount_cents"]) == ({"granted": 7, "engaged": 7}, 80_000)
    tables = [f"/v1/reports/conventions/{name}.csv?as_of={past}" for name in ("summary", "lines")]
    written = [funded.get(path).text for path in tables]
    redemptions = [new_id(), new_id()]
    funded.tell(redeemed(ids(grant)[:2], redemptions), expired(ids(grant)[2:3]), paid(redemptions, "2026-03-09"))
    funded.tell(reversed_(ids(grant)[0], redemptions[0]), cancelled(str(new_id()), ids(grant)[3:4]))
    funded.grant(granted_on="2026-03-01", target_public="seniors")
    funded.convention()
    terms = {"amount_cents": 95_000, "reason": "Avenant 1."}
    convention_id = before["conventions"][0]["convention_id"]
    [envelope] = funded.made(funded.get("/v1/envelopes"), 200)["items"]
    change = {"amount_cents": 90_000, "reason": "Avenant."}
    funded.made(funded.post(f"/v1/envelopes/{envelope['envelope_id']}/movements", change))
    funded.made(funded.post(f"/v1/conventions/{convention_id}/amendments", terms))
    assert funded.report(as_of=past) == before
    assert [funded.get(path).text for path in tables] == written
    assert funded.report(as_of=YESTERDAY)["conventions"][0]["sums"]["granted"]["number"] == 7
    today = funded.report()
    assert today["provisional"]
    assert [convention["amount_cents"] for convention in today["conventions"]] == [100_000, 95_000]


def _happened_before(office: Office, day: date) -> None:
    """Books seven cheques and an amount of 700 € on a past day, as they would have been."""
    with office.service.runtime.transaction() as session:
        session.execute(sa.text("UPDATE convention SET created_at = :day"), {"day": day - timedelta(days=9)})
        session.execute(
            sa.text("""
                INSERT INTO convention_amendment (id, convention_id, amount_cents, reason, made_by, made_on)
                SELECT '00000000-0000-7000-8000-000000000000', id, 80000, '', '', :day FROM convention
            """),
            {"day": day - timedelta(days=9)},
        )
        session.execute(
            sa.text("""
                INSERT INTO journal_entry (booked_on, occurred_on, kind, envelope_id, number, cents)
                SELECT :day, :day, 'engaged', id, 7, 7000 FROM envelope
            """),
            {"day": day},
        )
        session.execute(
            sa.text("""
                INSERT INTO envelope_movement
                    (id, envelope_id, kind, before_cents, after_cents, reason, made_by, made_on)
                SELECT '00000000-0000-7000-8000-000000000000', id, 'opened', 0, 70000, '', '', :day FROM envelope
            """),
            {"day": day},
        )


def test_news_heard_again_is_booked_once(funded: Office) -> None:
    grant = funded.grant()
    redemptions = [new_id() for _ in range(3)]
    told = [
        redeemed(ids(grant)[:3], redemptions),
        reversed_(ids(grant)[0], redemptions[0]),
        paid(redemptions[1:2]),
        expired(ids(grant)[3:4]),
        cancelled(str(new_id()), ids(grant)[4:]),
    ]
    funded.tell(*told)
    expected = {"granted": 5, "engaged": 3, "used": 2, "expired": 1, "cancelled": 1, "paid": 1}
    assert sums(funded) == expected
    for again in (told, told[::-1], [each for each in told for _ in range(2)]):
        funded.tell(*again)
        assert sums(funded) == expected
    assert funded.states(grant) == ["spendable", "redeemed", "redeemed", "expired", "cancelled"]


def test_a_payment_may_be_heard_of_before_the_redemption_and_from_two_sides(funded: Office) -> None:
    redemptions = [new_id() for _ in range(4)]
    told = [redeemed(ids(funded.grant())[:4], redemptions), paid(redemptions[:3]), paid(redemptions[1:], "2026-02-09")]
    funded.tell(told[1], told[2])
    assert sums(funded) == {"granted": 5, "engaged": 5}
    funded.tell(told[0])
    assert sums(funded) == {"granted": 5, "engaged": 5, "used": 4, "paid": 4}


def test_redemption_reversal_and_payment_come_to_the_same_in_any_order(funded: Office) -> None:
    for number, order in enumerate(itertools.permutations(range(3)), 1):
        cheque, redemption = ids(funded.grant())[0], new_id()
        told = [redeemed([cheque], [redemption]), reversed_(cheque, redemption), paid([redemption])]
        for each in order:
            funded.tell(told[each])
        assert sums(funded) == {"granted": number * 5, "engaged": number * 5, "paid": number}


def test_a_payment_that_was_withdrawn_is_paid_no_more_whenever_its_redemption_is_heard_of(funded: Office) -> None:
    """The redeemer tells of payment and withdrawal in this order; the rest comes in any."""
    used = {"granted": 5, "engaged": 5, "used": 3}
    first, second, by_operator = redemptions = [new_id() for _ in range(3)]
    told = redeemed(ids(funded.grant())[:3], redemptions)
    funded.tell(paid([first]), unpaid([first]), told, paid([second]))
    assert sums(funded) == used | {"paid": 1}
    for _ in range(2):
        funded.tell(paid([second]), unpaid([second]), unpaid([by_operator]))
        assert sums(funded) == used
    kind, body = paid([by_operator])
    funded.tell((kind, dict(body) | {"payment_reference": "OP-7"}), unpaid([by_operator]))
    assert sums(funded) == used | {"paid": 1}


def test_a_cheque_used_twice_with_a_reversal_between_is_used_once(funded: Office) -> None:
    cheque, first, second = ids(funded.grant())[0], new_id(), new_id()
    told: Sequence[Any] = [redeemed([cheque], [first]), reversed_(cheque, first), redeemed([cheque], [second])]
    funded.tell(*told)
    funded.tell(*told)
    funded.tell(paid([first, second]))
    assert sums(funded) == {"granted": 5, "engaged": 5, "used": 1, "paid": 2}


def test_the_journal_is_summed_by_run_not_written_by_cheque(funded: Office) -> None:
    grants = [funded.grant() for _ in range(3)]
    funded.tell(*(redeemed(ids(grant)) for grant in grants), *(paid([new_id()]) for _ in range(3)))
    with funded.service.runtime.transaction() as session:
        written = session.execute(sa.text("SELECT kind, number FROM journal_entry ORDER BY id")).all()
    assert [tuple(row) for row in written] == [("engaged", 5)] * 3 + [("used", 15)]


def test_a_convention_counts_from_the_day_that_it_was_agreed_whatever_the_clock_of_the_database_says(
    funded: Office, owner: sa.Engine
) -> None:
    before = funded.report()
    with owner.begin() as connection:
        connection.execute(sa.text("UPDATE issuer.convention SET created_at = now() + interval '1 day'"))
    assert funded.report() == before
