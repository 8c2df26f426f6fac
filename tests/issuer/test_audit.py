"""What the issuer records of people's acts, and what it never does."""

from typing import Any

import pytest
import sqlalchemy as sa

from tests.issuer.office import ALICE, Office, ids


def entries(office: Office, **query: object) -> list[dict[str, Any]]:
    answer = office.service.client.get(
        "/v1/audit", query_string=query, headers=office.service.headers("admin", subject="auditor")
    )
    assert answer.status_code == 200, answer.json
    found: list[dict[str, Any]] = answer.get_json()["items"]
    return found


def test_a_grant_says_who_made_it_when_and_from_where(office: Office) -> None:
    office.envelope(100_000)
    grant = office.grant(amount_cents=7000, beneficiary=ALICE)
    [entry] = entries(office, object_id=grant["grant_id"])
    assert entry["action"] == "POST /v1/grants"
    assert entry["role"] == "prescriber"
    assert entry["scope"] == str(office.prescriber)
    assert entry["subject"] == "test"
    assert entry["address"] == "127.0.0.1"
    assert entry["request_id"]
    assert entry["outcome"] == "done"
    assert entry["before"] is None
    assert entry["after"]["amount_cents"] == 7000
    assert "beneficiary_id" not in entry["after"]
