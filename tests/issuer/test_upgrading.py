"""What was there before an upgrade is there after it."""

import json

import sqlalchemy as sa

from demo.stack.embedded import EmbeddedPostgres
from shared.database import engine as db
from shared.database.migrations import runner as migrations
from shared.values.ids import new_id
from tests.issuer.office import RULE
from tests.issuer.test_migrations import DATABASE, database

__all__ = ["database"]

_PROGRAMME = sa.text("""
    INSERT INTO programme (id, code, name, face_value_cents, minimum_grant_cents, valid_months, grace_days, spendable,
                           services, territory, assessment)
    VALUES (:id, :code, :code, 1000, 5000, 12, 0, 'on_issue', '{}', '{}', CAST(:rule AS jsonb))
""")
_FOUND = sa.text("""
    SELECT code, assessment_version, version, rule.assessment = programme.assessment, declared_by, single_cheque
    FROM programme LEFT JOIN assessment_rule rule ON rule.programme_id = programme.id ORDER BY code
""")


def test_the_rule_of_a_programme_becomes_its_first_version(database: str, postgres: EmbeddedPostgres) -> None:
    role = postgres.url("souche_issuer", DATABASE)
    migrations.upgrade("issuer", database, role, "0001")
    engine = db.connect(database, "issuer", 1)
    with engine.begin() as connection:
        for code, rule in (("pass", RULE), ("simple", None)):
            given = json.dumps(rule) if rule else None
            connection.execute(_PROGRAMME, {"id": new_id(), "code": code, "rule": given})
    migrations.upgrade("issuer", database, role)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(_FOUND)]
    engine.dispose()
    assert found == [("pass", 1, 1, True, "migration", False), ("simple", None, None, None, None, False)]
