"""The digest by which people are known again: nothing to a thief, and its key can be changed at work."""

import hashlib
import itertools
import secrets
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from services.issuer.grants import beneficiaries, granting
from services.issuer.grants.issuing import Secrets
from services.issuer.grants.requests import GrantRequest
from services.issuer.people.identities import Identities, Identity, normalised
from tests.issuer.office import ALICE, Office
from tests.issuer.privacy.test_erasure import BOB, identity

PERSON = Identity("Martin", "Marie", date(1980, 5, 17))


@pytest.fixture
def desk(office: Office) -> Office:
    """An office with money."""
    office.envelope(1_000_000)
    return office


def columns(office: Office) -> list[bytes]:
    """Every bytes and every text that the table of people holds, as a thief of the table has them."""
    with office.service.runtime.transaction() as session:
        rows = session.execute(sa.text("SELECT * FROM beneficiary")).all()
    return [value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row]


def test_a_list_of_names_and_days_finds_nobody_without_the_key(desk: Office) -> None:
    person = {"family_name": "Martin", "given_name": "Marie", "birth_date": "1980-05-17"}
    desk.grant(beneficiary=person)
    stolen = columns(desk)
    names = ["Martin", "MARTIN", "martin", "Marie", "marie", "Bernard", "Thomas"]
    days = [PERSON.birth_date + timedelta(days=day) for day in range(-400, 400)]
    for family, forename, day in itertools.product(names, names, days):
        written = (f"{family}{sep}{forename}{sep}{day}".encode() for sep in ("\n", "", " ", "|"))
        guesses = [hashlib.sha256(text).digest() for text in written]
        assert not set(guesses) & set(stolen)
    keyless = Identities({"IDENTITY_DIGEST_KEY": {"k": bytes(32)}, "IDENTITY_ENCRYPTION_KEYS": {"k": bytes(32)}})
    assert not {keyless.digest(PERSON)} & set(stolen)
    assert Identities(desk.service.settings.keys).digest(PERSON) in stolen  # and with the key it does


def test_the_table_of_people_shows_nothing_of_a_name(desk: Office) -> None:
    desk.grant(beneficiary=ALICE)
    names = {ALICE["family_name"], normalised(ALICE["family_name"]), ALICE["given_name"], ALICE["birth_date"]}
    assert not [name for name in names for value in columns(desk) if name.casefold().encode() in value.lower()]


def keys(office: Office, *digest_keys: str, of: dict[str, bytes]) -> Mapping[str, Mapping[str, bytes]]:
    """The office's keys, with these digest keys in this order."""
    return {**office.service.settings.keys, "IDENTITY_DIGEST_KEY": {name: of[name] for name in digest_keys}}


@contextmanager
def rotation(office: Office) -> Iterator[dict[str, bytes]]:
    """The key in use and a new one, by name."""
    [(name, key)] = office.service.settings.keys["IDENTITY_DIGEST_KEY"].items()
    yield {"old": key, "new": secrets.token_bytes(32), name: key}


def grant(office: Office, secret_keys: Mapping[str, Any], **order: Any) -> Any:
    made: dict[str, Any] = {"amount_cents": 5000, "reason": "x", "beneficiary": identity(ALICE)} | order
    with office.service.runtime.transaction() as session:
        return granting.grant(session, Secrets.of(secret_keys), GrantRequest(office.prescriber, "pass", **made))


def test_a_person_is_known_again_while_and_after_the_key_is_changed(desk: Office) -> None:
    with rotation(desk) as of:
        grant(desk, keys(desk, "old", of=of), reference="a")
        grant(desk, keys(desk, "old", of=of), beneficiary=identity(BOB))
        both = keys(desk, "new", "old", of=of)
        with desk.service.runtime.transaction() as session:
            assert Identities(both).by_digest(session, identity(ALICE)) is not None
        assert grant(desk, both, reference="a").already
        assert grant(desk, both).grant.previous_grants == 1
        made_by = "SELECT string_agg(digest_key, ',' ORDER BY digest_key) FROM beneficiary"
        assert desk.value(made_by) == "new,old"  # who was not granted anything since is still of the former key
        assert grant(desk, keys(desk, "new", of=of)).grant.previous_grants == 2
        assert desk.value("SELECT count(*) FROM beneficiary") == 2


def test_the_key_can_be_changed_back(desk: Office) -> None:
    with rotation(desk) as of:
        grant(desk, keys(desk, "new", "old", of=of))
        assert grant(desk, keys(desk, "old", "new", of=of)).grant.previous_grants == 1
        assert grant(desk, keys(desk, "old", of=of)).grant.previous_grants == 2


def test_what_stands_for_a_reference_is_known_under_a_former_key_and_says_nothing(desk: Office) -> None:
    with rotation(desk) as of:
        old, new = Identities(keys(desk, "old", of=of)), Identities(keys(desk, "new", "old", of=of))
        [stand_in] = old.stand_ins(desk.prescriber, "dupont")
        assert stand_in in new.stand_ins(desk.prescriber, "dupont")
        assert stand_in not in Identities(keys(desk, "new", of=of)).stand_ins(desk.prescriber, "dupont")
        assert "dupont" not in stand_in


@pytest.mark.parametrize("first", ["old", "new"])
def test_two_processes_that_prefer_different_keys_add_a_person_once(desk: Office, first: str) -> None:
    second = "new" if first == "old" else "old"
    with rotation(desk) as of:
        ours, other = Identities(keys(desk, first, second, of=of)), Identities(keys(desk, second, first, of=of))

        def add_by_other() -> None:
            with desk.service.runtime.transaction() as session:
                beneficiaries.find_or_add(session, other, [PERSON])

        add_by_other()
        with ThreadPoolExecutor(1) as pool:
            with desk.service.runtime.transaction() as session:
                beneficiaries.find_or_add(session, ours, [PERSON])
                added = pool.submit(add_by_other)
                time.sleep(0.3)
            added.result()
    assert desk.value("SELECT count(*) FROM beneficiary") == 1
