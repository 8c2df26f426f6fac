"""A till and a database that goes away: a request may be repeated, and is never half done."""

from dataclasses import replace

import sqlalchemy as sa

from services.redeemer import create_app
from tests.harness import ServiceUnderTest
from tests.redeemer.conftest import Till


def cut_connections(owner: sa.Engine) -> None:
    """What a restart of the database does to those who are connected."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'souche_redeemer'"
    with owner.connect() as connection:
        connection.exec_driver_sql(query).all()


def test_a_till_does_not_notice_that_the_database_was_restarted(till: Till, owner: sa.Engine) -> None:
    codes = [cheque.code for cheque in till.issue(2)]
    assert till.check(codes[0]).status_code == 200

    cut_connections(owner)
    assert till.check(codes[0]).status_code == 200
    cut_connections(owner)
    assert till.present(codes).status_code == 201
    assert len(till.rows("SELECT FROM redemption")) == 2


def test_a_till_is_told_to_come_back_where_the_database_does_not_answer(till: Till) -> None:
    [cheque] = till.issue()
    given = till.redeemer
    settings = replace(given.settings, database_url="postgresql://nobody@127.0.0.1:1/nothing")
    away = Till(ServiceUnderTest(create_app(settings), settings, given.signer, given.environ))

    answers = [away.present([cheque.code]), away.check(cheque.code)]

    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "2")] * 2
    assert {answer.get_json()["type"] for answer in answers} == {"urn:souche:unavailable"}
